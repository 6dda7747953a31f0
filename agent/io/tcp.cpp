#include "agent/io/tcp.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace lastlight::io {

namespace {

constexpr int kAcceptBurst = 32;
constexpr Duration kRest = std::chrono::milliseconds(100);
// The kernel doubles it. Left alone it grows to megabytes for each peer; of 4 to 64 KiB none makes answers dearer for
// up to 60 peers that ask at once.
constexpr int kKernelBuffer = 8 * 1024;

void set(int fd, int level, int name, int value = 1) {
  ::setsockopt(fd, level, name, &value, sizeof value);
}

}  // namespace

std::expected<std::unique_ptr<TcpListener>, std::string> TcpListener::listen(Loop& loop, const Endpoint& where,
                                                                             Accepted accepted,
                                                                             const SocketSource& source) {
  auto fd = source({ListeningSocket::Kind::Tcp, where, Bytes{0}});
  if (!fd) return std::unexpected(std::move(fd.error()));
  set(fd->get(), SOL_SOCKET, SO_SNDBUF, kKernelBuffer);  // inherited by what is accepted
  set(fd->get(), SOL_SOCKET, SO_RCVBUF, kKernelBuffer);
  const Endpoint local = local_endpoint(fd->get(), where);
  return std::unique_ptr<TcpListener>(new TcpListener(loop, std::move(*fd), local, std::move(accepted)));
}

TcpListener::TcpListener(Loop& loop, FileDescriptor fd, Endpoint local, Accepted accepted)
    : fd_(std::move(fd)),
      local_(local),
      accepted_(std::move(accepted)),
      poll_(loop, fd_.get(), [this](Poll::Ready) { accept_burst(); }),
      rested_(loop, [this] {
        if (!stopped_) poll_.watch(true, false);
      }) {
  poll_.watch(true, false);
}

void TcpListener::stop() {
  stopped_ = true;
  poll_.watch(false, false);
  rested_.stop();
}

void TcpListener::start() {
  stopped_ = false;
  poll_.watch(true, false);
}

void TcpListener::accept_burst() {
  for (int i = 0; i < kAcceptBurst && !stopped_; ++i) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    FileDescriptor fd(
        ::accept4(fd_.get(), reinterpret_cast<sockaddr*>(&address), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) {
      const auto peer = Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&address));
      if (peer) accepted_(std::move(fd), *peer);
      continue;
    }
    if (errno == EAGAIN) return;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      ++rests_;
      poll_.watch(false, false);
      rested_.start_in(kRest);
      return;
    }
    // ECONNABORTED and the network errors of accept(2) belong to one peer: the next may be fine.
  }
}

TcpConnection::TcpConnection(Loop& loop, FileDescriptor fd, Limits limits, Calls calls)
    : loop_(loop),
      fd_(std::move(fd)),
      limits_(limits),
      calls_(std::move(calls)),
      active_(loop.now()),
      poll_(loop, fd_.get(), [this](Poll::Ready event) { ready(event); }),
      timer_(loop, [this] { on_time(); }) {
  set(fd_.get(), IPPROTO_TCP, TCP_NODELAY);
  arm();
  update();
}

// A peer that has not read what waits for it is not idle, nor is one that waits for us.
Instant TcpConnection::due() const {
  Instant due = kNever;
  if (queued() > 0) {
    due = read_by_peer_ + limits_.write;
  } else if (!owing_) {
    due = active_ + limits_.idle;
  }
  if (begun_ != kNever && !paused_) due = std::min(due, begun_ + limits_.message);
  return due;
}

void TcpConnection::arm() {
  const Instant next = due();
  if (next >= armed_ || doomed_) return;
  armed_ = next;
  timer_.start_at(next);
}

void TcpConnection::on_time() {
  armed_ = kNever;
  const Instant now = loop_.now();
  if (doomed_) {
    close(*doomed_);
  } else if (now < due()) {
    arm();
  } else if (queued() > 0 && now >= read_by_peer_ + limits_.write) {
    close(Closed::Stalled);
  } else if (begun_ != kNever && !paused_ && now >= begun_ + limits_.message) {
    close(Closed::Unfinished);
  } else {
    close(finishing_ ? Closed::Finished : Closed::Idle);
  }
}

void TcpConnection::await_rest(bool begun) {
  begun_ = begun ? loop_.now() : kNever;
  arm();
}

void TcpConnection::owe(bool answer) {
  if (owing_ && !answer) active_ = loop_.now();
  owing_ = answer;
  arm();
}

void TcpConnection::update() {
  if (doomed_) return;
  poll_.watch(!peer_done_ && !paused_, queued() > 0);
}

void TcpConnection::pause_reading(bool paused) {
  if (paused == paused_) return;
  paused_ = paused;
  if (begun_ != kNever) await_rest(true);
  update();
}

void TcpConnection::ready(Poll::Ready event) {
  if (doomed_) return;
  if (event.error != 0) {
    close(Closed::Error);
    return;
  }
  if (event.writable && !flush()) return;
  if (event.readable && !peer_done_ && !paused_ && !read()) return;
  update();
}

bool TcpConnection::read() {
  std::array<std::uint8_t, 16384> buffer;
  const ssize_t count = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
  if (count < 0) return errno == EAGAIN || errno == EINTR || close(Closed::Error);
  if (count == 0) {
    peer_done_ = true;
    calls_.half_closed();
    return true;
  }
  active_ = loop_.now();
  if (!calls_.received({buffer.data(), static_cast<std::size_t>(count)})) return close(Closed::Refused);
  return true;
}

void TcpConnection::write(ByteView bytes) {
  if (doomed_) return;
  if (queued() == 0) {
    const ssize_t count = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) return close_later(Closed::Error);
    if (count > 0) {
      active_ = loop_.now();
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    if (bytes.empty()) return;
    queue_.clear();
    written_ = 0;
    read_by_peer_ = loop_.now();
  }
  if (queued() + bytes.size() > limits_.max_queued) return close_later(Closed::Slow);
  // A quarter of room to grow instead of twice the size: a crowd may make a thousand of these long.
  const std::size_t needed = queue_.size() + bytes.size();
  if (needed > queue_.capacity()) queue_.reserve(needed + needed / 4);
  queue_.insert(queue_.end(), bytes.begin(), bytes.end());
  arm();
  update();
}

bool TcpConnection::flush() {
  while (queued() > 0) {
    const ssize_t count = ::send(fd_.get(), queue_.data() + written_, queued(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN)) break;
    if (count <= 0) return close(Closed::Error);
    written_ += static_cast<std::size_t>(count);
    active_ = read_by_peer_ = loop_.now();
  }
  if (written_ * 2 >=
      queue_.size()) {  // what was written goes when it is most of the queue: each byte moves once at most
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(written_));
    written_ = 0;
  }
  if (queue_.empty()) queue_ = {};  // its room, too: a thousand connections may each have queued much once
  if (finishing_ && queued() == 0) return close(Closed::Finished);
  arm();
  return true;
}

void TcpConnection::finish() {
  if (doomed_ || finishing_) return;
  finishing_ = true;
  if (queued() == 0) close_later(Closed::Finished);
}

// The owner may be in the middle of its table: it is told from the loop.
void TcpConnection::close_later(Closed why) {
  if (doomed_) return;
  doomed_ = why;
  poll_.watch(false, false);
  timer_.start_in(Duration::zero());
}

bool TcpConnection::close(Closed why) {
  poll_.watch(false, false);
  timer_.stop();
  doomed_ = why;
  auto closed = std::move(calls_.closed);  // outlives *this
  if (closed) closed(why);
  return false;
}

}  // namespace lastlight::io
