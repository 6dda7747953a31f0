// The floor: what the kernel alone takes for one request and its reply each second, on a kept connection to a metadata
// service. The request is prepared once; of the reply nothing is looked at but that something came.
//   bench_poll IP:PORT PATH
#include <string>

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "tests/bench/batch.h"

using namespace lastlight::bench;

namespace {

int connected_to(const sockaddr_in& service) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  if (fd < 0 || ::connect(fd, reinterpret_cast<const sockaddr*>(&service), sizeof service) != 0) give_up("connect");
  if (::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) give_up("setsockopt");
  return fd;
}

int each_second() {
  const int fd = ::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC);
  const itimerspec every{.it_interval = {.tv_sec = 1, .tv_nsec = 0}, .it_value = {.tv_sec = 1, .tv_nsec = 0}};
  if (fd < 0 || ::timerfd_settime(fd, 0, &every, nullptr) != 0) give_up("timerfd");
  return fd;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::string request = "GET " + std::string(argv[2]) + " HTTP/1.1\r\nHost: " + argv[1] + "\r\n\r\n";
  const int service = connected_to(address_of(argv[1]));
  const int timer = each_second();
  const int loop = ::epoll_create1(EPOLL_CLOEXEC);
  for (const int fd : {service, timer}) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    if (::epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) != 0) give_up("epoll_ctl");
  }
  std::array<char, 16384> octets{};
  for (epoll_event event{};;) {
    if (::epoll_wait(loop, &event, 1, -1) < 0) give_up("epoll_wait");
    if (::read(event.data.fd, octets.data(), octets.size()) <= 0) give_up("read");
    if (event.data.fd != timer) continue;
    if (::send(service, request.data(), request.size(), MSG_NOSIGNAL) < 0) give_up("send");
  }
}
