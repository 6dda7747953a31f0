#include "agent/supervisor/supervision.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <sys/socket.h>

namespace lastlight {

namespace {

union Control {
  char bytes[CMSG_SPACE(sizeof(int))];
  cmsghdr align;
};

}  // namespace

Message Message::about(Type type, const io::ListeningSocket& socket) {
  Message message;
  message.type = type;
  message.kind = socket.kind;
  message.v6 = socket.where.address.is_v6() ? 1 : 0;
  message.port = socket.where.port;
  message.address = socket.where.address.octets();
  message.value = socket.receive_buffer.count;
  return message;
}

Message Message::with_text(Type type, std::string_view text) {
  Message message;
  message.type = type;
  message.text_size = static_cast<std::uint32_t>(text.copy(message.text.data(), kText));
  return message;
}

std::optional<Message> Message::with_words(Type type, std::span<const std::string> words) {
  std::string joined;
  for (const std::string& word : words)
    joined += word + '\0';
  if (joined.size() > kText) return std::nullopt;
  return with_text(type, joined);
}

io::ListeningSocket Message::socket() const {
  std::uint32_t v4 = 0;
  for (std::size_t i = 0; i < 4; ++i)
    v4 = v4 << 8 | address[i];
  return {kind, {v6 != 0 ? IpAddress::v6(address) : IpAddress::v4(v4), port}, Bytes{value}};
}

std::string_view Message::text_view() const {
  return {text.data(), std::min<std::size_t>(text_size, kText)};
}

std::vector<std::string> Message::words() const {
  std::vector<std::string> out;
  std::string_view rest = text_view();
  for (std::size_t end = rest.find('\0'); end != std::string_view::npos; end = rest.find('\0')) {
    out.emplace_back(rest.substr(0, end));
    rest.remove_prefix(end + 1);
  }
  return out;
}

bool send_message(int socket, const Message& message, int descriptor) {
  iovec vector{const_cast<Message*>(&message), sizeof message};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  Control control{};
  if (descriptor >= 0) {
    header.msg_control = control.bytes;
    header.msg_controllen = sizeof control.bytes;
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof descriptor);
    std::memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
  }
  ssize_t sent;
  do {
    sent = ::sendmsg(socket, &header, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(sizeof message);
}

std::optional<Received> receive_message(int socket, bool& closed) {
  Received received;
  iovec vector{&received.message, sizeof received.message};
  Control control{};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = control.bytes;
  header.msg_controllen = CMSG_LEN(sizeof(int));  // room for one: the kernel drops what a peer sends beyond
  ssize_t size;
  do {
    size = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0 && errno == EAGAIN) return std::nullopt;
  for (cmsghdr* each = CMSG_FIRSTHDR(&header); each != nullptr; each = CMSG_NXTHDR(&header, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(each), sizeof descriptor);
    received.descriptor = io::FileDescriptor(descriptor);
  }
  if (size == static_cast<ssize_t>(sizeof received.message)) return received;
  closed = true;  // the end, an error, or somebody who does not speak this
  return std::nullopt;
}

}  // namespace lastlight
