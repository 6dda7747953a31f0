#include "agent/path_proof.h"

#include <algorithm>

namespace lastlight {

namespace {

constexpr std::size_t kHeader = 12;
constexpr std::uint8_t kReply = 0x80;  // QR, in the third octet
constexpr std::array<std::uint8_t, 15> kRest = {9, 'l', 'o', 'c', 'a', 'l', 'h', 'o', 's', 't', 0, 0, 1, 0, 1};  // IN A

}  // namespace

ByteView PathProof::next(const std::array<std::uint8_t, kRandom>& random) {
  query_ = {random[0], random[1], 1, 0, 0, 1};  // RD, one question
  query_[kHeader] = kLabel;
  for (std::size_t i = 0; i < kLabel; ++i) {
    const std::uint8_t octet = random[2 + i / 2];
    query_[kHeader + 1 + i] =
        static_cast<std::uint8_t>("0123456789abcdef"[i % 2 == 0 ? octet >> 4 : octet & std::uint8_t{15}]);
  }
  std::ranges::copy(kRest, query_.begin() + kHeader + 1 + kLabel);
  out_ = true;
  arrived_ = false;
  return query_;
}

bool PathProof::is_about(ByteView message) const {
  const ByteView name = ByteView(query_).subspan(kHeader, 1 + kLabel);
  return out_ && message.size() >= kSize && std::ranges::equal(message.first(2), ByteView(query_).first(2)) &&
         std::ranges::equal(message.subspan(kHeader, name.size()), name);
}

bool PathProof::on_query(ByteView query) {
  if (!is_about(query)) return false;
  arrived_ = true;
  elsewhere_ = 0;
  return true;
}

bool PathProof::on_answer(ByteView answer, bool in_force) {
  if (!is_about(answer) || (answer[2] & kReply) == 0) return false;
  out_ = false;
  if (!arrived_) elsewhere_ = in_force ? std::min(elsewhere_ + 1, kElsewhere) : 0;
  return arrived_;
}

}  // namespace lastlight
