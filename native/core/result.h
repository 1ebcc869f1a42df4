#pragma once

#include <cerrno>
#include <utility>
#include <variant>

namespace ioloop {

/** Why a system call failed: its errno (positive, as errno(3) gives it) and its name. */
struct SysError {
  int code;
  const char* call;
};

/** The failure of the system call that has just returned; reads errno. */
[[nodiscard]] inline SysError lastError(const char* call) noexcept { return {errno, call}; }

/**
 * A value or the reason there is none, shaped like std::expected so that it can become it.
 * Reading the side that is not there is undefined: ask first.
 */
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) noexcept : state_(std::in_place_index<0>, std::move(value)) {}
  Result(SysError error) noexcept : state_(std::in_place_index<1>, error) {}

  bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }
  T& value() noexcept { return *std::get_if<0>(&state_); }
  const T& value() const noexcept { return *std::get_if<0>(&state_); }
  T& operator*() noexcept { return value(); }
  const T& operator*() const noexcept { return value(); }
  T* operator->() noexcept { return std::get_if<0>(&state_); }
  const T* operator->() const noexcept { return std::get_if<0>(&state_); }
  const SysError& error() const noexcept { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, SysError> state_;
};

/** Success, or the reason there was none. */
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() noexcept = default;
  Result(SysError error) noexcept : error_(error) {}

  bool has_value() const noexcept { return error_.code == 0; }
  explicit operator bool() const noexcept { return has_value(); }
  const SysError& error() const noexcept { return error_; }

 private:
  SysError error_{0, ""};
};

using Status = Result<void>;

}  // namespace ioloop
