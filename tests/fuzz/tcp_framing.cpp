// The TCP reassembler against a plain reading of the whole stream: however it is cut, the same messages come out, in
// order, and a stream that cannot be DNS is refused at the same place.
#include "dnscache/tcp_framing.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

using namespace lastlight;
using namespace lastlight::dns;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

struct Seen {
  std::vector<ByteBuffer> messages;
  bool refused = false;
};

Seen whole(ByteView stream) {
  Seen out;
  while (stream.size() >= 2) {
    const std::size_t length = static_cast<std::size_t>(stream[0] << 8 | stream[1]);
    out.refused = length < 12;
    if (out.refused || stream.size() - 2 < length) break;
    out.messages.emplace_back(stream.begin() + 2, stream.begin() + 2 + static_cast<std::ptrdiff_t>(length));
    stream = stream.subspan(2 + length);
  }
  return out;
}

}  // namespace

// The input: how many octets each piece has, in turn (the first octet says how many such sizes follow), then the
// stream.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size - 1 < data[0]) return 0;
  const ByteView sizes(data + 1, data[0]);
  ByteView stream(data + 1 + data[0], size - 1 - data[0]);
  const Seen expected = whole(stream);

  Seen got;
  std::move_only_function<void(ByteView)> take = [&](ByteView m) { got.messages.emplace_back(m.begin(), m.end()); };
  TcpFraming framing;
  for (std::size_t piece = 0; !stream.empty() && !got.refused; ++piece) {
    const std::size_t wanted = sizes.empty() ? stream.size() : std::size_t{1} + sizes[piece % sizes.size()];
    // A piece of its own, so that AddressSanitizer sees a read past its end.
    const ByteBuffer cut(stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(std::min(wanted, stream.size())));
    got.refused = !framing.feed(cut, take);
    require(framing.held() <= 2 + 65535);
    stream = stream.subspan(cut.size());
  }
  require(got.refused == expected.refused);
  require(got.messages == expected.messages);
  return 0;
}
