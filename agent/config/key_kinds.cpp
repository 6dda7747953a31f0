#include "agent/config/key_kinds.h"

namespace lastlight::key_kinds {

Key scalar(std::string name, std::string expected, std::string purpose) {
  Key key;
  key.name = std::move(name);
  key.expected = std::move(expected);
  key.purpose = std::move(purpose);
  return key;
}

Key duration(std::string name, Duration& value, Duration min, Duration max, std::string purpose) {
  Key key = scalar(std::move(name),
                   "a duration from " + print_duration(min) + " to " + print_duration(max) + ", such as 250ms or 5s",
                   std::move(purpose));
  key.read = [&value, min, max](std::string_view text) {
    const auto parsed = parse_duration(text);
    if (!parsed || *parsed < min || *parsed > max) return false;
    value = *parsed;
    return true;
  };
  key.print = [&value] { return std::vector{print_duration(value)}; };
  return key;
}

Key size(std::string name, Bytes& value, Bytes min, Bytes max, std::string purpose) {
  Key key =
      scalar(std::move(name), "a size from " + print_size(min) + " to " + print_size(max) + ", such as 512KiB or 32MiB",
             std::move(purpose));
  key.read = [&value, min, max](std::string_view text) {
    const auto parsed = parse_size(text);
    if (!parsed || *parsed < min || *parsed > max) return false;
    value = *parsed;
    return true;
  };
  key.print = [&value] { return std::vector{print_size(value)}; };
  return key;
}

Key fraction(std::string name, double& value, std::string purpose) {
  Key key = scalar(std::move(name), "a number from 0 to 1", std::move(purpose));
  key.read = [&value](std::string_view text) {
    const auto parsed = parse_fraction(text);
    if (!parsed || !(*parsed >= 0 && *parsed <= 1)) return false;
    value = *parsed;
    return true;
  };
  key.print = [&value] { return std::vector{print_fraction(value)}; };
  return key;
}

Key flag(std::string name, bool& value, std::string purpose) {
  Key key = scalar(std::move(name), "true or false", std::move(purpose));
  key.read = [&value](std::string_view text) {
    if (text != "true" && text != "false") return false;
    value = text == "true";
    return true;
  };
  key.print = [&value] { return std::vector<std::string>{value ? "true" : "false"}; };
  return key;
}

Key text(std::string name, std::string& value, std::string expected, bool (*check)(std::string_view),
         std::string purpose) {
  Key key = scalar(std::move(name), std::move(expected), std::move(purpose));
  key.read = [&value, check](std::string_view given) {
    if (!check(given)) return false;
    value = given;
    return true;
  };
  key.print = [&value] { return std::vector{value}; };
  return key;
}

Key domain(std::string name, std::string& value, std::string purpose) {
  Key key = scalar(std::move(name), "a domain name", std::move(purpose));
  key.read = [&value](std::string_view given) {
    auto normal = normal_domain(given);
    if (normal) value = std::move(*normal);
    return normal.has_value();
  };
  key.print = [&value] { return std::vector{value}; };
  return key;
}

Key optional_address(std::string name, std::optional<IpAddress>& value, std::string purpose) {
  Key key = scalar(std::move(name), "an IP address, or empty", std::move(purpose));
  key.read = [&value](std::string_view given) {
    const auto parsed = IpAddress::parse(given);
    if (!given.empty() && (!parsed || parsed->is_unspecified())) return false;
    value = parsed;
    return true;
  };
  key.print = [&value] { return std::vector{value ? value->to_string() : std::string()}; };
  return key;
}

Key addresses(std::string name, std::vector<AddressSpec>& value, std::string expected, std::string purpose,
              std::uint16_t default_port) {
  Key key = scalar(std::move(name), std::move(expected), std::move(purpose));
  key.shape = Key::Shape::List;
  key.read = [&value, default_port](std::string_view given) {
    auto parsed = AddressSpec::parse(given, default_port);
    if (parsed) value.push_back(std::move(*parsed));
    return parsed.has_value();
  };
  key.print = [&value] {
    std::vector<std::string> out;
    std::transform(value.begin(), value.end(), std::back_inserter(out),
                   [](const auto& spec) { return spec.to_string(); });
    return out;
  };
  key.set_word = [&value](bool) { value.clear(); };
  key.has_word = [] { return false; };
  return key;
}

Key section(std::string name, std::vector<Key> keys, std::string purpose) {
  Key key = scalar(std::move(name), "a mapping", std::move(purpose));
  key.shape = Key::Shape::Section;
  key.keys = std::move(keys);
  return key;
}

}  // namespace lastlight::key_kinds
