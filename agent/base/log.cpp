#include "agent/base/log.h"

#include <array>
#include <charconv>
#include <cmath>
#include <memory>
#include <string>

#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

namespace lastlight::log {
namespace {

class FunctionSink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  explicit FunctionSink(std::function<void(std::string_view)> take) : take_(std::move(take)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    std::string_view text(line.data(), line.size());
    if (text.ends_with('\n')) text.remove_suffix(1);
    take_(text);
  }
  void flush_() override {}

 private:
  std::function<void(std::string_view)> take_;
};

struct State {
  Format format = Format::Text;
  Level level = Level::Info;
  // Outside of spdlog's registry, which is a singleton with its own threads' hooks.
  std::unique_ptr<spdlog::logger> logger;
};

spdlog::level::level_enum spd_level(Level level) {
  switch (level) {
    case Level::Debug:
      return spdlog::level::debug;
    case Level::Info:
      return spdlog::level::info;
    case Level::Warn:
      return spdlog::level::warn;
    case Level::Error:
      break;
  }
  return spdlog::level::err;
}

// The configuration's words; spdlog has "warning".
std::string_view level_word(Level level) {
  switch (level) {
    case Level::Debug:
      return "debug";
    case Level::Info:
      return "info";
    case Level::Warn:
      return "warn";
    case Level::Error:
      break;
  }
  return "error";
}

void apply(State& state) {
  state.logger->set_level(spd_level(state.level));
  state.logger->flush_on(spdlog::level::trace);
  // UTC with milliseconds, RFC 3339.
  state.logger->set_pattern(
      state.format == Format::JsonLines ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":%v})" : "%Y-%m-%dT%H:%M:%S.%eZ %v",
      spdlog::pattern_time_type::utc);
}

State& state() {
  static State state = [] {
    State fresh;
    fresh.logger = std::make_unique<spdlog::logger>("lastlight", std::make_shared<spdlog::sinks::stderr_sink_st>());
    apply(fresh);
    return fresh;
  }();
  return state;
}

// How many bytes the character at the front takes; 0 if it is not UTF-8.
std::size_t utf8_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  const std::size_t length = lead < 0x80    ? 1
                             : lead >= 0xf5 ? 0
                             : lead >= 0xf0 ? 4
                             : lead >= 0xe0 ? 3
                             : lead >= 0xc2 ? 2
                                            : 0;
  if (length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 0;
  }
  if (length < 3) return length;
  const auto second = static_cast<unsigned char>(text[1]);
  // Overlong forms, surrogates, and beyond U+10FFFF (RFC 3629 s4).
  const bool bad = (lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
                   (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f);
  return bad ? 0 : length;
}

// A JSON string (RFC 8259 s7). What is not UTF-8 becomes U+FFFD, so that a hostile name cannot break the line.
void append_quoted(std::string& out, std::string_view text) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  while (!text.empty()) {
    const char c = text.front();
    const auto byte = static_cast<unsigned char>(c);
    const std::size_t length = utf8_length(text);
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 0xf];
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  out += '"';
}

bool is_bare(std::string_view text) {
  for (const char c : text) {
    if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\') return false;
  }
  return !text.empty();
}

template <class Number>
void append_number(std::string& out, Number value) {
  std::array<char, 32> text{};
  out.append(text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr);
}

void append_value(std::string& out, const Field::Value& value, Format format) {
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    if (format == Format::Text && is_bare(*text)) {
      out += *text;
    } else {
      append_quoted(out, *text);
    }
  } else if (const auto* flag = std::get_if<bool>(&value)) {
    out += *flag ? "true" : "false";
  } else if (const auto* real = std::get_if<double>(&value)) {
    // JSON has no word for what is not finite.
    if (std::isfinite(*real)) {
      append_number(out, *real);
    } else {
      out += "null";
    }
  } else if (const auto* natural = std::get_if<std::uint64_t>(&value)) {
    append_number(out, *natural);
  } else {
    append_number(out, std::get<std::int64_t>(value));
  }
}

}  // namespace

void configure(const LogConfig& config) {
  state().level = config.level;
  state().format = config.format;
  apply(state());
}

void redirect(std::function<void(std::string_view)> sink) {
  state().logger->sinks().clear();
  if (sink) {
    state().logger->sinks().push_back(std::make_shared<FunctionSink>(std::move(sink)));
  } else {
    state().logger->sinks().push_back(std::make_shared<spdlog::sinks::stderr_sink_st>());
  }
  apply(state());
}

bool enabled(Level level) {
  return level >= state().level;
}

void write(Level level, std::string_view event, Fields fields) {
  if (!enabled(level)) return;
  const Format format = state().format;
  std::string line;
  if (format == Format::JsonLines) {
    line += "\"";
    line += level_word(level);
    line += "\",\"event\":";
    append_quoted(line, event);
  } else {
    line += level_word(level);
    line += ' ';
    line += event;
  }
  for (const Field& field : fields) {
    if (format == Format::JsonLines) {
      line += ',';
      append_quoted(line, field.name);
      line += ':';
    } else {
      line += ' ';
      line += field.name;
      line += '=';
    }
    append_value(line, field.value, format);
  }
  state().logger->log(spd_level(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace lastlight::log
