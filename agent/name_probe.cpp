#include "agent/name_probe.h"

#include <algorithm>

#include "dnscache/wire.h"

namespace lastlight {

NameProbe::NameProbe(std::string_view domain, const std::array<std::uint8_t, kRandom>& random) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string label;
  for (std::size_t i = 2; i < random.size(); ++i) {
    label += kHex[random[i] >> 4];
    label += kHex[random[i] & std::uint8_t{15}];
  }
  name_ = domain == "." || domain.empty() ? label : label + "." + std::string(domain);
  if (name_.ends_with('.')) name_.pop_back();
  const auto name = dns::Name::parse(name_);
  if (!name) return;
  const std::size_t after = dns::kHeaderSize + name->size;
  query_.resize(after + 4);
  query_[0] = random[0];
  query_[1] = random[1];
  dns::store16(query_, 2, dns::kRd);
  dns::store16(query_, 4, 1);  // QDCOUNT
  std::ranges::copy(name->view(), query_.begin() + dns::kHeaderSize);
  dns::store16(query_, after, dns::kTypeA);
  dns::store16(query_, after + 2, dns::kClassIn);
}

std::optional<std::uint16_t> NameProbe::rcode_of(ByteView answer) const {
  if (query_.empty() || answer.size() < query_.size()) return std::nullopt;
  const std::uint16_t flags = dns::load16(answer, 2);
  if (dns::load16(answer, 0) != dns::load16(query_, 0) || (flags & dns::kQr) == 0) return std::nullopt;
  const ByteView question = ByteView(query_).subspan(dns::kHeaderSize);
  if (!dns::same_name(answer.subspan(dns::kHeaderSize, question.size()), question)) return std::nullopt;
  return static_cast<std::uint16_t>(flags & dns::kRcodeMask);
}

bool NameProbe::is_from_upstream(std::uint16_t rcode) {
  return rcode == dns::kNoError || rcode == dns::kNxDomain;
}

}  // namespace lastlight
