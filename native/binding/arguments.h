#pragma once

#include <napi.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace ioloop {

/**
 * The arguments of one call from JavaScript, read without allocation: for functions so hot that
 * the Napi:: wrappers would show. TypeScript has checked them (src/native.ts is the only caller);
 * what is missing or of another type reads as nothing, never as garbage.
 */
template <std::size_t N>
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info) noexcept : env_(env) {
    std::size_t count = N;
    if (napi_get_cb_info(env, info, &count, values_.data(), &self_, &data_) != napi_ok) count = 0;
    count_ = count < N ? count : N;
  }

  /** The native half of `this`, nullptr when it has none. */
  template <typename T>
  T* self() const noexcept {
    void* data = nullptr;
    return napi_unwrap(env_, self_, &data) == napi_ok ? static_cast<T*>(data) : nullptr;
  }

  /** What the function was exported with. */
  template <typename T>
  T& data() const noexcept {
    return *static_cast<T*>(data_);
  }

  std::optional<double> number(std::size_t index) const noexcept {
    double value = 0;
    if (index >= count_ || napi_get_value_double(env_, values_[index], &value) != napi_ok)
      return std::nullopt;
    return value;
  }

  std::optional<std::int32_t> int32(std::size_t index) const noexcept {
    std::int32_t value = 0;
    if (index >= count_ || napi_get_value_int32(env_, values_[index], &value) != napi_ok)
      return std::nullopt;
    return value;
  }

  std::optional<std::uint32_t> uint32(std::size_t index) const noexcept {
    std::uint32_t value = 0;
    if (index >= count_ || napi_get_value_uint32(env_, values_[index], &value) != napi_ok)
      return std::nullopt;
    return value;
  }

  /**
   * The bytes of a Uint8Array. Valid during this call only: a view does not survive a detach.
   * Empty (with a null pointer) for what is no typed array; its kind is not asked for, which costs
   * as much as all the rest, and of a wider kind this is a part.
   */
  std::span<std::byte> bytes(std::size_t index) const noexcept {
    return index < count_ ? bytesOf(values_[index]) : std::span<std::byte>();
  }

  /** The part of bytes(index) that the next two arguments name, (offset, length), if they are
   * there. */
  std::span<std::byte> range(std::size_t index) const noexcept {
    const auto all = bytes(index);
    const auto offset = number(index + 1);
    if (!offset) return all;
    const auto rest = all.subspan(std::min(toSize(*offset), all.size()));
    return rest.first(std::min(toSize(number(index + 2).value_or(0)), rest.size()));
  }

  /** The bytes of a Uint8Array in an array; as bytes(). */
  std::span<std::byte> bytesAt(std::size_t index, std::uint32_t place) const noexcept {
    napi_value element = nullptr;
    if (index >= count_ || napi_get_element(env_, values_[index], place, &element) != napi_ok)
      return {};
    return bytesOf(element);
  }

  /** The numbers of a Float64Array; as bytes(). */
  std::span<double> doubles(std::size_t index) const noexcept {
    return numbers<double>(index, napi_float64_array);
  }
  /** The numbers of an Int32Array; as bytes(). */
  std::span<std::int32_t> int32s(std::size_t index) const noexcept {
    return numbers<std::int32_t>(index, napi_int32_array);
  }

 private:
  static std::size_t toSize(double value) noexcept {
    return value > 0 ? static_cast<std::size_t>(value) : 0;
  }

  template <typename T>
  std::span<T> numbers(std::size_t index, napi_typedarray_type expected) const noexcept {
    napi_typedarray_type type{};
    std::size_t count = 0;
    void* data = nullptr;
    if (index >= count_ || napi_get_typedarray_info(env_, values_[index], &type, &count, &data,
                                                    nullptr, nullptr) != napi_ok)
      return {};
    return type == expected ? std::span(static_cast<T*>(data), count) : std::span<T>();
  }

  std::span<std::byte> bytesOf(napi_value value) const noexcept {
    std::size_t size = 0;
    void* data = nullptr;
    if (napi_get_typedarray_info(env_, value, nullptr, &size, &data, nullptr, nullptr) != napi_ok)
      return {};
    return {static_cast<std::byte*>(data), size};
  }

  napi_env env_;
  napi_value self_ = nullptr;
  void* data_ = nullptr;
  std::size_t count_ = 0;
  std::array<napi_value, N> values_{};
};

/** `value` as a JavaScript number. */
inline napi_value toNumber(napi_env env, std::int32_t value) noexcept {
  napi_value result = nullptr;
  napi_create_int32(env, value, &result);
  return result;
}

inline napi_value toNumber(napi_env env, double value) noexcept {
  napi_value result = nullptr;
  napi_create_double(env, value, &result);
  return result;
}

inline napi_value toBoolean(napi_env env, bool value) noexcept {
  napi_value result = nullptr;
  napi_get_boolean(env, value, &result);
  return result;
}

}  // namespace ioloop
