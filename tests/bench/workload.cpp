#include "tests/bench/workload.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <string>

#include "dnscache/wire.h"

namespace lastlight::bench {

namespace {

constexpr std::size_t kOrder = 1U << 18;

ByteBuffer question(const std::string& name, std::uint16_t type) {
  const auto wire = dns::Name::parse(name);
  ByteBuffer out(dns::kHeaderSize + wire->size + 4);
  dns::store16(out, 2, dns::kRd);
  dns::store16(out, 4, 1);
  std::ranges::copy(wire->view(), out.begin() + dns::kHeaderSize);
  dns::store16(out, out.size() - 4, type);
  dns::store16(out, out.size() - 2, dns::kClassIn);
  return out;
}

void by_zipf(Workload& out, std::mt19937_64& random) {
  std::vector<double> weights(out.questions.size());
  for (std::size_t i = 0; i < weights.size(); ++i)
    weights[i] = 1.0 / static_cast<double>(i + 1);
  std::discrete_distribution<std::uint32_t> draw(weights.begin(), weights.end());
  std::ranges::generate(out.order, [&] { return draw(random); });
}

// A name outside is looked for at three places before its own, one of the cluster at one: 3/4 and 1/2 are missing.
void search_paths(Workload& out) {
  const auto ask = [&out](const std::string& name) {
    out.questions.push_back(question(name, dns::kTypeA));
    out.questions.push_back(question(name, dns::kTypeAaaa));
  };
  for (int i = 0; i < 100; ++i) {
    const std::string outside = "api" + std::to_string(i) + ".example.com";
    for (const char* place : {".shop.svc.cluster.local", ".svc.cluster.local", ".cluster.local", ""})
      ask(outside + place);
    const std::string inside = "web" + std::to_string(i) + ".pay";
    for (const char* place : {".shop.svc.cluster.local", ".svc.cluster.local"})
      ask(inside + place);
  }
}

}  // namespace

std::optional<Workload> Workload::named(std::string_view name) {
  std::mt19937_64 random(20);
  Workload out;
  out.order.resize(kOrder);
  if (name == "miss") {
    out.unique = true;
    out.questions = {question("0000000000000000.miss.example.org", dns::kTypeA)};
    out.order = {0};
    return out;
  }
  if (name == "hot" || name == "10k" || name == "wide") {
    const int names = name == "hot" ? 1000 : name == "10k" ? 10'000 : 100'000;
    for (int i = 0; i < names; ++i)
      out.questions.push_back(question("host" + std::to_string(i) + ".example.org", dns::kTypeA));
  } else if (name == "k8s") {
    search_paths(out);
  } else {
    return std::nullopt;
  }
  if (name == "hot") {
    by_zipf(out, random);
  } else {
    std::uniform_int_distribution<std::uint32_t> draw(0, static_cast<std::uint32_t>(out.questions.size() - 1));
    std::ranges::generate(out.order, [&] { return draw(random); });
  }
  return out;
}

void number(MutableByteView question, std::uint64_t value) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  for (std::size_t i = 0; i < 16; ++i)
    question[dns::kHeaderSize + 1 + i] = static_cast<std::uint8_t>(kDigits[value >> (60 - 4 * i) & 15]);
}

}  // namespace lastlight::bench
