// The log: one line per event on the standard error, an event's fixed name and its fields, as text or JSON. Never per
// query. Every line is written and flushed before the call returns; nothing is buffered and no thread is started.
//   log::info("drain.started", {{"node", name}, {"pods", 12}});
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string_view>
#include <variant>

#include "agent/config.h"

namespace lastlight::log {

using Level = LogConfig::Level;
using Format = LogConfig::Format;

struct Field {
  using Value = std::variant<std::string_view, std::int64_t, std::uint64_t, double, bool>;

  // Views: a field lives only as long as the call.
  template <class T>
  Field(std::string_view field_name, const T& v) : name(field_name), value(typed(v)) {}

  std::string_view name;
  Value value;

 private:
  template <class T>
  static Value typed(const T& v) {
    if constexpr (std::same_as<T, bool>) {
      return v;
    } else if constexpr (std::floating_point<T>) {
      return static_cast<double>(v);
    } else if constexpr (std::signed_integral<T>) {
      return static_cast<std::int64_t>(v);
    } else if constexpr (std::unsigned_integral<T>) {
      return static_cast<std::uint64_t>(v);
    } else {
      return std::string_view(v);
    }
  }
};

using Fields = std::initializer_list<Field>;

void configure(const LogConfig& config);

// Lines go there, without the newline, instead of to the standard error; an empty function undoes it. For tests.
void redirect(std::function<void(std::string_view line)> sink);

bool enabled(Level level);
void write(Level level, std::string_view event, Fields fields);

inline void debug(std::string_view event, Fields fields = {}) {
  write(Level::Debug, event, fields);
}
inline void info(std::string_view event, Fields fields = {}) {
  write(Level::Info, event, fields);
}
inline void warn(std::string_view event, Fields fields = {}) {
  write(Level::Warn, event, fields);
}
inline void error(std::string_view event, Fields fields = {}) {
  write(Level::Error, event, fields);
}

}  // namespace lastlight::log
