// The floor: what the kernel alone takes for a datagram in and one out. Whatever comes goes back as it came, in the
// batches that the agent uses, its headers prepared once, with nothing done in between but to say that it is a
// response.
//   bench_echo IP:PORT
#include "tests/bench/batch.h"

using namespace lastlight::bench;

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const int fd = udp_socket(address_of(argv[1]));
  static Batch batch(true);
  for (;;) {
    for (mmsghdr& header : batch.headers)
      header.msg_hdr.msg_iov->iov_len = Batch::kSlot;
    const int count = ::recvmmsg(fd, batch.headers.data(), Batch::kMost, MSG_WAITFORONE, nullptr);
    if (count < 0) give_up("recvmmsg");
    for (int i = 0; i < count; ++i) {
      mmsghdr& header = batch.headers[static_cast<std::size_t>(i)];
      header.msg_hdr.msg_iov->iov_len = header.msg_len;
      batch.octets[static_cast<std::size_t>(i)][2] |= 0x80;
    }
    for (int sent = 0; sent < count;) {
      const int now = ::sendmmsg(fd, batch.headers.data() + sent, static_cast<unsigned>(count - sent), 0);
      if (now < 0) give_up("sendmmsg");
      sent += now;
    }
  }
}
