#include "dnscache/tcp_framing.h"

#include "tests/support/catch.h"
#include "tests/support/random.h"

using namespace lastlight;
using namespace lastlight::dns;

TEST_CASE("RFC 1035 s4.2.2, 7766 s8: messages survive any cutting of the stream", "[tcp_framing]") {
  auto random = test::seeded_random("tcp_framing");
  for (int round = 0; round < 50; ++round) {
    std::vector<ByteBuffer> wanted(1 + random() % 8);
    ByteBuffer stream;
    for (auto& m : wanted) {
      m.resize(random() % 10 == 0 ? 65535 : 12 + random() % 600);
      for (auto& b : m)
        b = static_cast<std::uint8_t>(random());
      stream.push_back(static_cast<std::uint8_t>(m.size() >> 8));
      stream.push_back(static_cast<std::uint8_t>(m.size()));
      stream.insert(stream.end(), m.begin(), m.end());
    }
    TcpFraming framing;
    std::vector<ByteBuffer> got;
    std::move_only_function<void(ByteView)> collect = [&](ByteView m) { got.emplace_back(m.begin(), m.end()); };
    for (ByteView rest = stream; !rest.empty();) {
      const std::size_t cut = std::min<std::size_t>(rest.size(), random() % 4 == 0 ? 1 : 1 + random() % 3000);
      REQUIRE(framing.feed(rest.first(cut), collect));
      REQUIRE(framing.held() <= 65537);
      rest = rest.subspan(cut);
    }
    CHECK(got == wanted);
    CHECK(framing.held() == 0);
  }
}

TEST_CASE("a frame shorter than a header is refused, whole or in pieces", "[tcp_framing]") {
  std::move_only_function<void(ByteView)> never = [](ByteView) { FAIL("no message was expected"); };
  const ByteBuffer bad = {0, 11, 1, 2, 3};
  CHECK_FALSE(TcpFraming().feed(bad, never));
  TcpFraming pieces;
  CHECK(pieces.feed(ByteView(bad).first(1), never));
  CHECK_FALSE(pieces.feed(ByteView(bad).subspan(1), never));
}
