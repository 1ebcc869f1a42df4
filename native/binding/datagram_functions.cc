#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>

#include "binding/arguments.h"
#include "binding/environment.h"
#include "binding/errors.h"
#include "binding/functions.h"
#include "core/address.h"
#include "core/datagram.h"
#include "core/datagram_name.h"
#include "core/datagram_socket.h"
#include "core/multicast.h"

namespace ioloop {
namespace {

struct NamedKind {
  const char* name;
  DatagramKind kind;
};
constexpr NamedKind kKinds[] = {
    {"udp4", DatagramKind::udp4},
    {"udp6", DatagramKind::udp6},
    {"unix", DatagramKind::local},
    {"seqpacket", DatagramKind::seqpacket},
};

int fdOf(const Napi::CallbackInfo& info) { return info[0].As<Napi::Number>().Int32Value(); }

std::string textOf(const Napi::Value& value) { return value.As<Napi::String>().Utf8Value(); }

/** EINVAL: it is no kind's name. */
Result<DatagramKind> kindOf(const Napi::Value& name) {
  const auto* const found = std::ranges::find(kKinds, textOf(name), &NamedKind::name);
  if (found == std::end(kKinds)) return SysError{EINVAL, "socket"};
  return found->kind;
}

Napi::Value toName(Napi::Env env, DatagramKind kind) {
  return Napi::String::New(env, std::ranges::find(kKinds, kind, &NamedKind::kind)->name);
}

/** The three arguments after the descriptor: a path, or else an IP literal and a port. */
Result<Address> addressOf(const Napi::CallbackInfo& info) {
  if (info[1].IsString()) return Address::local(textOf(info[1]));
  return Address::inet(textOf(info[2]),
                       static_cast<std::uint16_t>(info[3].As<Napi::Number>().Uint32Value()));
}

std::optional<mode_t> modeOf(const Napi::Value& value) {
  const int mode = value.As<Napi::Number>().Int32Value();
  return mode < 0 ? std::nullopt : std::optional(static_cast<mode_t>(mode));
}

Napi::Value keepOrThrow(Napi::Env env, Result<UniqueFd> made) {
  if (made) return Napi::Number::New(env, Environment::of(env).keepStream(std::move(*made)));
  throwSystemError(env, made.error());
  return {};
}

Napi::Value throwUnless(Napi::Env env, const Status& done) {
  if (!done) throwSystemError(env, done.error());
  return {};
}

Napi::Value open(const Napi::CallbackInfo& info) {
  const auto kind = kindOf(info[0]);
  return keepOrThrow(info.Env(), kind ? openDatagram(*kind) : kind.error());
}

Napi::Value openPair(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto kind = kindOf(info[0]);
  auto made = kind ? openDatagramPair(*kind) : kind.error();
  if (!made) return throwUnless(env, made.error());
  const Napi::Array pair = Napi::Array::New(env, made->size());
  for (std::uint32_t end = 0; end < made->size(); ++end)
    pair.Set(end, Environment::of(env).keepStream(std::move((*made)[end])));
  return pair;
}

/** (fd, path, host, port, mode) */
Napi::Value bind(const Napi::CallbackInfo& info) {
  const auto address = addressOf(info);
  return throwUnless(
      info.Env(), address ? bindDatagram(fdOf(info), *address, modeOf(info[4])) : address.error());
}

/** (fd, path, host, port) */
Napi::Value connect(const Napi::CallbackInfo& info) {
  const auto address = addressOf(info);
  return throwUnless(info.Env(), address ? connectDatagram(fdOf(info), *address) : address.error());
}

Napi::Value disconnect(const Napi::CallbackInfo& info) {
  return throwUnless(info.Env(), disconnectDatagram(fdOf(info)));
}

/** (path, backlog, mode) */
Napi::Value listen(const Napi::CallbackInfo& info) {
  const auto address = Address::local(textOf(info[0]));
  if (!address) return keepOrThrow(info.Env(), address.error());
  return keepOrThrow(info.Env(), listenSeqpacket(*address, info[1].As<Napi::Number>().Int32Value(),
                                                 modeOf(info[2])));
}

Napi::Value adopt(const Napi::CallbackInfo& info) {
  const auto kind = adoptDatagram(fdOf(info));
  if (!kind) return throwUnless(info.Env(), kind.error());
  Environment::of(info.Env()).streams.insert(fdOf(info));
  return toName(info.Env(), *kind);
}

Napi::Value want(const Napi::CallbackInfo& info) {
  return throwUnless(info.Env(), wantControl(fdOf(info), info[1].As<Napi::Number>().Uint32Value()));
}

/** (fd, group, networkInterface, source, join) */
Napi::Value changeMembership(const Napi::CallbackInfo& info) {
  const std::string group = textOf(info[1]);
  const std::string interface = textOf(info[2]);
  const std::string source = textOf(info[3]);
  const auto change = info[4].As<Napi::Boolean>().Value() ? joinGroup : leaveGroup;
  return throwUnless(info.Env(), change(fdOf(info), {group, interface, source}));
}

/** (fd, networkInterface) */
Napi::Value changeInterface(const Napi::CallbackInfo& info) {
  return throwUnless(info.Env(), setMulticastInterface(fdOf(info), textOf(info[1])));
}

Napi::Value credentialsOf(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto peer = peerCredentials(fdOf(info));
  if (!peer) return throwUnless(env, peer.error());
  Napi::Object result = Napi::Object::New(env);
  result.Set("pid", static_cast<double>(peer->pid));
  result.Set("uid", peer->uid);
  result.Set("gid", peer->gid);
  return result;
}

/** Asks once in a process, as long as there are descriptors to ask with. */
Result<DatagramCapabilities> knownCapabilities() {
  static std::atomic<std::optional<DatagramCapabilities>> known;
  if (const auto before = known.load()) return *before;
  const auto asked = datagramCapabilities();
  if (asked) known = *asked;
  return asked;
}

Napi::Value capabilities(const Napi::CallbackInfo& info) {
  const auto found = knownCapabilities();
  if (!found) return throwUnless(info.Env(), found.error());
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("batchedDatagrams", found->batches);
  result.Set("udpSegment", found->udpSegment);
  result.Set("udpGro", found->udpGro);
  result.Set("abstractNames", found->abstractNames);
  result.Set("seqpacket", found->seqpacket);
  result.Set("credentials", found->credentials);
  result.Set("dropCounts", found->dropCounts);
  return result;
}

napi_value drops(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  return toNumber(env, static_cast<double>(droppedByKernel(arguments.int32(0).value_or(-1))));
}

/** (literal, target): 0, or -errno. */
Napi::Value parse(const Napi::CallbackInfo& info) {
  const auto address = Address::inet(textOf(info[0]), 0);
  auto target = info[1].As<Napi::Int32Array>();
  DatagramRow row{};
  // The words from `family` to the end of `address` stand one behind the other.
  constexpr std::size_t kWords = 3 + row.address.size();
  if (!address) return Napi::Number::New(info.Env(), toNegative(address.error()));
  if (target.ElementLength() < kWords) return Napi::Number::New(info.Env(), -EINVAL);
  readName(*address, row);
  std::memcpy(target.Data(), &row.family, kWords * sizeof(std::int32_t));
  return Napi::Number::New(info.Env(), 0);
}

// From here on each leaves its result in the environment's word.

template <std::size_t N>
napi_value leave(const Arguments<N>& arguments, ssize_t result) noexcept {
  *arguments.template data<Environment>().result = static_cast<std::int32_t>(result);
  return nullptr;
}

/** The rows of an Int32Array: as many as are whole. */
template <std::size_t N>
std::span<DatagramRow> rowsOf(const Arguments<N>& arguments, std::size_t index) noexcept {
  const auto words = arguments.int32s(index);
  return {reinterpret_cast<DatagramRow*>(words.data()), words.size_bytes() / sizeof(DatagramRow)};
}

/** (fd, slab, slotSize, rows, names, fds) */
napi_value receive(napi_env env, napi_callback_info info) {
  const Arguments<6> arguments(env, info);
  const DatagramTarget target{.slab = arguments.bytes(1),
                              .slotSize = arguments.uint32(2).value_or(0),
                              .rows = rowsOf(arguments, 3),
                              .names = arguments.bytes(4),
                              .fds = arguments.int32s(5)};
  const ssize_t received = receiveDatagrams(arguments.int32(0).value_or(-1), target);
  if (received > 0 && !target.fds.empty()) {
    const DatagramRow& last = target.rows[static_cast<std::size_t>(received) - 1];
    const auto count =
        static_cast<std::size_t>(last.firstFd) + static_cast<std::size_t>(last.fdCount);
    for (const int fd : target.fds.first(count))
      arguments.template data<Environment>().streams.insert(fd);
  }
  return leave(arguments, received);
}

/** (fd, bytes, rows, first, count, fds) */
napi_value send(napi_env env, napi_callback_info info) {
  const Arguments<6> arguments(env, info);
  const auto rows = rowsOf(arguments, 2);
  const std::size_t first = arguments.uint32(3).value_or(0);
  const std::size_t count = arguments.uint32(4).value_or(0);
  if (first > rows.size() || count > rows.size() - first) return leave(arguments, -EINVAL);
  return leave(arguments,
               sendDatagrams(arguments.int32(0).value_or(-1), {.bytes = arguments.bytes(1),
                                                               .rows = rows.subspan(first, count),
                                                               .fds = arguments.int32s(5)}));
}

/** (fd, rows) */
napi_value takeError(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  const auto rows = rowsOf(arguments, 1);
  if (rows.empty()) return leave(arguments, -EINVAL);
  return leave(arguments, receiveError(arguments.int32(0).value_or(-1), rows.front()));
}

}  // namespace

void exportDatagramFunctions(Napi::Env env, Napi::Object exports) {
  const auto set = [&](const char* name, auto function) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  set("openDatagram", open);
  set("openDatagramPair", openPair);
  set("bindDatagram", bind);
  set("connectDatagram", connect);
  set("disconnectDatagram", disconnect);
  set("listenSeqpacket", listen);
  set("adoptDatagram", adopt);
  set("wantControl", want);
  set("parseIp", parse);
  set("setMembership", changeMembership);
  set("setMulticastInterface", changeInterface);
  set("peerCredentials", credentialsOf);
  set("capabilities", capabilities);

  Environment& environment = Environment::of(env);
  exportHot(env, exports, "droppedByKernel", drops);
  exportHot(env, exports, "receiveDatagrams", receive, &environment);
  exportHot(env, exports, "sendDatagrams", send, &environment);
  exportHot(env, exports, "receiveError", takeError, &environment);
}

}  // namespace ioloop
