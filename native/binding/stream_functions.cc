#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <span>
#include <string>
#include <vector>

#include "binding/arguments.h"
#include "binding/environment.h"
#include "binding/errors.h"
#include "binding/functions.h"
#include "core/address.h"
#include "core/passed_fds.h"
#include "core/pipe.h"
#include "core/socket.h"
#include "core/socket_file.h"

namespace ioloop {
namespace {

/** Leaves `result` in the environment's word. */
template <std::size_t N>
napi_value leave(const Arguments<N>& arguments, ssize_t result) noexcept {
  *arguments.template data<Environment>().result = static_cast<std::int32_t>(result);
  return nullptr;
}

template <std::size_t N>
int fdOf(const Arguments<N>& arguments) noexcept {
  return arguments.int32(0).value_or(-1);
}

ssize_t toResult(const Status& status) noexcept { return status ? 0 : toNegative(status.error()); }

Napi::Value keepOrThrow(Napi::Env env, Result<UniqueFd> made) {
  if (made) return Napi::Number::New(env, Environment::of(env).keepStream(std::move(*made)));
  throwSystemError(env, made.error());
  return {};
}

int fdOf(const Napi::CallbackInfo& info) { return info[0].As<Napi::Number>().Int32Value(); }

std::uint16_t portOf(const Napi::Value& value) {
  return static_cast<std::uint16_t>(value.As<Napi::Number>().Uint32Value());
}

/** The first three arguments: a path, or else an IP literal and a port. src/native-streams.ts says
 * why. */
Result<Address> addressOf(const Napi::CallbackInfo& info) {
  if (info[0].IsString()) return Address::local(info[0].As<Napi::String>().Utf8Value());
  return Address::inet(info[1].As<Napi::String>().Utf8Value(), portOf(info[2]));
}

/** Rows of (name, level, number, bytes), for as long as their arguments are there. */
class Presets {
 public:
  explicit Presets(const Napi::Value& value) {
    if (!value.IsArray()) return;
    const auto rows = value.As<Napi::Array>();
    // Room for all: the options point to their names.
    names_.reserve(rows.Length());
    for (std::uint32_t place = 0; place < rows.Length(); ++place) {
      const auto row = rows.Get(place).As<Napi::Array>();
      const auto bytes = row.Get(3U).As<Napi::Uint8Array>();
      names_.push_back(row.Get(0U).As<Napi::String>().Utf8Value());
      options_.push_back({names_.back().c_str(), row.Get(1U).As<Napi::Number>().Int32Value(),
                          row.Get(2U).As<Napi::Number>().Int32Value(),
                          std::as_bytes(std::span(bytes.Data(), bytes.ElementLength()))});
    }
  }
  std::span<const PresetOption> options() const noexcept { return options_; }

 private:
  std::vector<std::string> names_;
  std::vector<PresetOption> options_;
};

/** (path, host, port, backlog, reusePort, ipv6Only, mode, presets) */
Napi::Value listen(const Napi::CallbackInfo& info) {
  const auto address = addressOf(info);
  if (!address) return keepOrThrow(info.Env(), address.error());
  ListenOptions options{.backlog = info[3].As<Napi::Number>().Int32Value(),
                        .reusePort = info[4].As<Napi::Boolean>().Value(),
                        .ipv6Only = info[5].As<Napi::Boolean>().Value()};
  const int mode = info[6].As<Napi::Number>().Int32Value();
  if (mode >= 0) options.mode = static_cast<mode_t>(mode);
  const Presets presets(info[7]);
  options.presets = presets.options();
  return keepOrThrow(info.Env(), listenSocket(*address, options));
}

/** (path, host, port, localAddress, localPort, presets) */
Napi::Value connect(const Napi::CallbackInfo& info) {
  const auto address = addressOf(info);
  if (!address) return keepOrThrow(info.Env(), address.error());
  std::string host = info[3].As<Napi::String>().Utf8Value();
  const std::uint16_t port = portOf(info[4]);
  const Presets presets(info[5]);
  if (host.empty() && port == 0)
    return keepOrThrow(info.Env(), connectSocket(*address, presets.options()));
  if (host.empty()) host = address->family() == Address::Family::inet6 ? "::" : "0.0.0.0";
  const auto local = Address::inet(host, port);
  if (!local) return keepOrThrow(info.Env(), local.error());
  return keepOrThrow(info.Env(), connectSocket(*address, *local, presets.options()));
}

Napi::Value duplicate(const Napi::CallbackInfo& info) {
  return keepOrThrow(info.Env(), duplicateFd(fdOf(info)));
}

Napi::Value openSpareFd(const Napi::CallbackInfo& info) {
  return keepOrThrow(info.Env(), openSpare());
}

/** Takes what `adopt` found fit. */
template <Status (*adopt)(int) noexcept>
Napi::Value take(const Napi::CallbackInfo& info) {
  const Status adopted = adopt(fdOf(info));
  if (adopted)
    Environment::of(info.Env()).streams.insert(fdOf(info));
  else
    throwSystemError(info.Env(), adopted.error());
  return {};
}

Napi::Value takePipe(const Napi::CallbackInfo& info) {
  const auto flags = adoptPipe(fdOf(info));
  if (!flags) {
    throwSystemError(info.Env(), flags.error());
    return {};
  }
  Environment::of(info.Env()).streams.insert(fdOf(info));
  return Napi::Number::New(info.Env(), *flags);
}

Napi::Value restore(const Napi::CallbackInfo& info) {
  const Status status = restoreFlags(fdOf(info), info[1].As<Napi::Number>().Int32Value());
  return Napi::Number::New(info.Env(), static_cast<double>(toResult(status)));
}

Napi::Value nameOfInterface(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), interfaceName(info[0].As<Napi::Number>().Uint32Value()));
}

Napi::Value identityOf(const Napi::CallbackInfo& info) {
  const auto identity = fileIdentity(info[0].As<Napi::String>().Utf8Value());
  if (identity) return Napi::String::New(info.Env(), *identity);
  throwSystemError(info.Env(), identity.error());
  return {};
}

Napi::Value unlinkFile(const Napi::CallbackInfo& info) {
  const Status status =
      unlinkPath(info[0].As<Napi::String>().Utf8Value(), info[1].As<Napi::String>().Utf8Value());
  return Napi::Number::New(info.Env(), static_cast<double>(toResult(status)));
}

// From here on each leaves its result in the environment's word.

napi_value accept(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  auto& environment = arguments.data<Environment>();
  auto accepted = acceptSocket(fdOf(arguments), *environment.peer);
  return leave(arguments, accepted ? environment.keepStream(std::move(*accepted))
                                   : toNegative(accepted.error()));
}

/** What is not on the list is not closed: the number is somebody else's by now. */
ssize_t closeListed(Environment& environment, int fd) noexcept {
  if (!environment.streams.erase(fd)) return -EBADF;
  // Not made again on EINTR: on Linux it is closed (close(2)).
  return sys().close(fd) < 0 && errno != EINTR ? -errno : 0;
}

napi_value close(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  return leave(arguments, closeListed(arguments.data<Environment>(), fdOf(arguments)));
}

napi_value abort(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  auto& environment = arguments.data<Environment>();
  // A pipe has no such option and needs none.
  if (environment.streams.contains(fdOf(arguments)))
    static_cast<void>(resetOnClose(fdOf(arguments)));
  return leave(arguments, closeListed(environment, fdOf(arguments)));
}

napi_value release(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const bool listed = arguments.data<Environment>().streams.erase(fdOf(arguments));
  return leave(arguments, listed ? 0 : -EBADF);
}

napi_value shutdown(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  return leave(arguments, toResult(shutdownWrite(fdOf(arguments))));
}

napi_value read(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  return leave(arguments, readSome(fdOf(arguments), arguments.range(1)));
}

napi_value write(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  return leave(arguments, writeSome(fdOf(arguments), arguments.range(1)));
}

/** (fd, views, first, count, skip) */
napi_value sendVector(napi_env env, napi_callback_info info) {
  const Arguments<5> arguments(env, info);
  std::array<iovec, IOV_MAX> parts;
  const std::uint32_t first = arguments.uint32(2).value_or(0);
  const std::size_t count = std::min<std::size_t>(arguments.uint32(3).value_or(0), parts.size());
  auto skip = static_cast<std::size_t>(arguments.number(4).value_or(0));
  for (std::uint32_t place = 0; place < count; ++place) {
    const auto view = arguments.bytesAt(1, first + place);
    const auto rest = view.subspan(std::min(std::exchange(skip, 0), view.size()));
    parts[place] = {rest.data(), rest.size()};
  }
  return leave(arguments, sendSome(fdOf(arguments), std::span(parts).first(count)));
}

/** (socket, file, offset, count): doubles, since files go beyond 2^32. */
napi_value sendFile(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  return leave(arguments, sendFileSome(fdOf(arguments), arguments.int32(1).value_or(-1),
                                       static_cast<off_t>(arguments.number(2).value_or(0)),
                                       static_cast<std::size_t>(arguments.number(3).value_or(0))));
}

/** (fd, source, start, length, fds) */
napi_value sendFds(napi_env env, napi_callback_info info) {
  const Arguments<5> arguments(env, info);
  return leave(arguments, sendWithFds(fdOf(arguments), arguments.range(1), arguments.int32s(4)));
}

/** (fd, target, start, length, fds): how many, whether some were lost, and the numbers. */
napi_value recvFds(napi_env env, napi_callback_info info) {
  const Arguments<5> arguments(env, info);
  const auto fds = arguments.int32s(4);
  if (fds.size() < 2) return leave(arguments, -EINVAL);
  PassedFds passed;
  const auto numbers = fds.subspan(2);
  const ssize_t size = recvWithFds(fdOf(arguments), arguments.range(1), numbers, passed);
  fds[0] = static_cast<std::int32_t>(passed.count);
  fds[1] = passed.truncated ? 1 : 0;
  DescriptorSet& streams = arguments.data<Environment>().streams;
  for (const std::int32_t fd : numbers.first(passed.count)) streams.insert(fd);
  return leave(arguments, size);
}

napi_value unread(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  return leave(arguments, unreadBytes(fdOf(arguments)));
}

napi_value unsent(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  return leave(arguments, unsentBytes(fdOf(arguments)));
}

}  // namespace

void exportStreamFunctions(Napi::Env env, Napi::Object exports) {
  const auto set = [&](const char* name, auto function) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  set("listenStream", listen);
  set("connectStream", connect);
  set("duplicate", duplicate);
  set("openSpare", openSpareFd);
  set("adoptSocket", take<adoptSocket>);
  set("adoptListener", take<adoptListener>);
  set("adoptSeqpacketListener", take<adoptSeqpacketListener>);
  set("adoptPipe", takePipe);
  set("restoreFlags", restore);
  set("interfaceName", nameOfInterface);
  set("fileIdentity", identityOf);
  set("unlinkPath", unlinkFile);

  Environment& environment = Environment::of(env);
  auto peer = Napi::Int32Array::New(env, sizeof(Peer) / sizeof(std::int32_t));
  if (peer.IsEmpty()) return;  // the environment is ending
  environment.peer = new (peer.Data()) Peer;
  environment.peerMemory = Napi::Persistent(peer);
  exports.Set("peer", peer);
  constexpr std::pair<const char*, napi_callback> kHot[] = {
      {"acceptStream", accept},   {"closeStream", close},       {"abortStream", abort},
      {"releaseStream", release}, {"shutdownStream", shutdown}, {"readPipe", read},
      {"writePipe", write},       {"sendVector", sendVector},   {"sendFile", sendFile},
      {"unreadBytes", unread},    {"unsentBytes", unsent},      {"sendWithFds", sendFds},
      {"recvWithFds", recvFds},
  };
  for (const auto& [name, call] : kHot) exportHot(env, exports, name, call, &environment);
}

}  // namespace ioloop
