#pragma once

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

/**
 * A test harness the size of a page.
 *
 *     TEST("a name is a sentence about behaviour") {
 *       REQUIRE(file.open());   // a failure ends the test
 *       CHECK(file.size() == 3);  // a failure is noted, the test goes on
 *     }
 *
 * Each *_test.cc is a program of its own: `name_test [part of a name]` runs the tests whose names
 * hold that part, prints what fails with its place, ends with the totals, and exits with 0 only if
 * some ran and all passed.
 */
namespace check {

struct Test {
  std::string name;
  std::function<void()> body;
};

/** Every test of this program, in the order of definition. */
inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

/** Run before the first test; each may add tests, one for each row of some table. */
inline std::vector<std::function<void()>>& generators() {
  static std::vector<std::function<void()>> all;
  return all;
}

/** Adds a test under a name made at run time. */
inline bool add(std::string name, std::function<void()> body) {
  tests().push_back({std::move(name), std::move(body)});
  return true;
}

/** Has `generator` add tests once every file of the program has defined its own. */
inline bool generate(std::function<void()> generator) {
  generators().push_back(std::move(generator));
  return true;
}

/** How often to do something: `full` when the environment has IOLOOP_LONG=1, else `quick`. */
template <typename Number>
Number count(Number quick, Number full) {
  const char* wanted = std::getenv("IOLOOP_LONG");
  return wanted != nullptr && std::string(wanted) == "1" ? full : quick;
}

inline std::atomic<int> failedChecks = 0;  // a test may check in threads

inline void fail(const char* file, int line, const char* expression) {
  ++failedChecks;
  std::printf("%s:%d: not so: %s\n", file, line, expression);
}

/** What main does. Returns the exit code. */
inline int runTests(const std::string& part) {
  for (const auto& generator : generators()) generator();
  int passed = 0;
  int failed = 0;
  for (const Test& test : tests()) {
    if (test.name.find(part) == std::string::npos) continue;
    failedChecks = 0;
    test.body();
    if (failedChecks == 0) {
      ++passed;
    } else {
      ++failed;
      std::printf("FAILED: %s\n", test.name.c_str());
    }
    std::fflush(stdout);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return passed > 0 && failed == 0 ? 0 : 1;
}

}  // namespace check

#define CHECK_JOIN_(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN_(a, b)

/** Defines a test: `TEST("sentence") { ... }`. */
#define TEST(sentence) CHECK_TEST_(sentence, CHECK_JOIN(test, __LINE__))
#define CHECK_TEST_(sentence, function)                                           \
  static void function();                                                         \
  static const bool CHECK_JOIN(function, Added) = check::add(sentence, function); \
  static void function()

/** Notes a failure when `...` is false. Variadic, so that commas in templates need no care. */
#define CHECK(...) ((__VA_ARGS__) ? void() : check::fail(__FILE__, __LINE__, #__VA_ARGS__))

/** Notes a failure and leaves the function, which returns nothing, when `...` is false. */
#define REQUIRE(...)                                 \
  do {                                               \
    if (!(__VA_ARGS__)) {                            \
      check::fail(__FILE__, __LINE__, #__VA_ARGS__); \
      return;                                        \
    }                                                \
  } while (false)
