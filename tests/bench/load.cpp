// The load: asks one server in batches, from one connected socket, and counts. Prints one line of JSON.
//   bench_load IP:PORT WORKLOAD warm            every question once, until each is answered
//   bench_load IP:PORT WORKLOAD flood SECONDS   as fast as it is answered: kWindow questions are always under way
//   bench_load IP:PORT WORKLOAD paced SECONDS QPS   of what is asked in the first twentieth second, times are not taken
//   bench_load IP:PORT WORKLOAD steady SECONDS QPS   a millisecond's share each millisecond, whatever is answered; ends
//                                                    at SIGTERM, too. Tells when what was lost or slow had been sent
//   bench_load IP:PORT WORKLOAD concurrent SECONDS COUNT    as flood, with so many under way
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <poll.h>
#include <time.h>

#include "dnscache/wire.h"

#include "tests/bench/batch.h"
#include "tests/bench/workload.h"

namespace lastlight::bench {

namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::size_t kWindow = 192;  // three batches: what a socket buffer of 212,992 octets holds
constexpr std::uint64_t kLost = kSecond / 2;
constexpr std::uint64_t kSlow = kSecond / 100;
constexpr std::size_t kMostTold = 100'000;
constexpr std::uint64_t kSettling = 20;  // of a second: pages are touched, caches filled

volatile std::sig_atomic_t told_to_end = 0;

std::uint64_t clock_now() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * kSecond + static_cast<std::uint64_t>(now.tv_nsec);
}

class Load {
 public:
  Load(const sockaddr_in& server, Workload workload) : workload_(std::move(workload)) {
    fd_ = udp_socket({.sin_family = AF_INET, .sin_port = 0, .sin_addr = {}, .sin_zero = {}});
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&server), sizeof server) != 0) give_up("connect");
    next_number_ = clock_now();
  }

  // True when all were answered.
  bool warm() {
    workload_.order.resize(workload_.questions.size());
    for (std::size_t i = 0; i < workload_.order.size(); ++i)
      workload_.order[i] = static_cast<std::uint32_t>(i);
    while (at_ < workload_.order.size()) {
      send(std::min({Batch::kMost, kWindow - std::min(kWindow, open_), workload_.order.size() - at_}));
      receive(10);
    }
    collect();
    return open_ == 0 && failed_ == 0;
  }

  void flood(std::uint64_t seconds, std::size_t window) {
    const std::uint64_t end = clock_now() + seconds * kSecond;
    std::uint64_t heard = clock_now();
    for (std::uint64_t now = heard; now < end; now = clock_now()) {
      if (open_ < window) send(std::min(Batch::kMost, window - open_));
      if (receive(20) > 0) heard = now;
      if (now > heard + kLost) forget_all();
    }
    collect();
  }

  void paced(double seconds, std::uint64_t rate) {
    const std::uint64_t begin = clock_now();
    const auto count = static_cast<std::uint64_t>(seconds * static_cast<double>(rate));
    for (std::uint64_t sent = 0; sent < count;) {
      if (sent == rate / kSettling) taken_.reserve(count);
      const std::uint64_t due = begin + sent * kSecond / rate;
      const std::uint64_t now = clock_now();
      if (now < due) {
        wait(due - now);
        receive(0);
        continue;
      }
      send(1);
      ++sent;
    }
    collect();
  }

  void steady(std::uint64_t seconds, std::uint64_t rate) {
    constexpr std::uint64_t kTick = kSecond / 1000;
    const std::uint64_t begin = clock_now();
    telling_ = true;
    taken_.reserve(std::min<std::uint64_t>(seconds * rate, 4'000'000));
    std::uint64_t sent = 0;
    for (std::uint64_t now = begin, before = begin; now < begin + seconds * kSecond && told_to_end == 0;) {
      late_ = std::max(late_, now - before);
      before = now;
      const std::uint64_t due = (now - begin) / kTick * kTick * rate / kSecond;
      if (due > sent) {
        const std::size_t count = std::min<std::size_t>(due - sent, Batch::kMost);
        send(count);
        sent += count;
      } else {
        wait(kTick - (now - begin) % kTick);
      }
      while (receive(0) == Batch::kMost) {
      }
      now = clock_now();
    }
    for (const std::uint64_t end = clock_now() + kSecond; open_ > 0 && clock_now() < end;)
      receive(10);
    for (std::uint64_t& at : sent_at_)
      lose(at);
  }

  // Instants are CLOCK_MONOTONIC's, in seconds.
  void print_told() const {
    const auto list = [](const char* name, const std::vector<std::pair<std::uint64_t, std::uint64_t>>& told) {
      std::printf(", \"%s\": [", name);
      for (std::size_t i = 0; i < told.size(); ++i) {
        std::printf("%s[%.6f, %.6f]", i == 0 ? "" : ", ", static_cast<double>(told[i].first) / 1e9,
                    static_cast<double>(told[i].second) / 1e9);
      }
      std::printf("]");
    };
    std::printf(R"({"sent": %lu, "late": %.6f, "longest": %.6f)", sent_, static_cast<double>(late_) / 1e9,
                static_cast<double>(longest_) / 1e9);
    list("lost_at", lost_at_);
    list("slow", slow_);
    std::printf("}\n");
  }

  void print(std::uint64_t began) {
    std::ranges::sort(taken_);
    const auto quantile = [this](double q) {
      if (taken_.empty()) return 0.0;
      return static_cast<double>(taken_[static_cast<std::size_t>(q * static_cast<double>(taken_.size() - 1))]) / 1e3;
    };
    std::printf(R"({"seconds": %.3f, "answered": %lu, "failed": %lu, "lost": %lu, "p50_us": %.1f, "p99_us": %.1f})"
                "\n",
                static_cast<double>(clock_now() - began) / 1e9, answered_, failed_, lost_ + open_, quantile(0.5),
                quantile(0.99));
  }

 private:
  void send(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      ByteBuffer& question = workload_.questions[workload_.order[at_++ % workload_.order.size()]];
      if (workload_.unique) number(question, next_number_++);
      std::memcpy(out_.octets[i].data(), question.data(), question.size());
      out_.vectors[i].iov_len = question.size();
      const std::uint16_t id = next_id_++;
      dns::store16(out_.octets[i], 0, id);
      lose(sent_at_[id]);
      ++open_;
      ids_[i] = id;
    }
    const std::uint64_t now = clock_now();
    sent_ += count;
    for (std::size_t i = 0; i < count; ++i)
      sent_at_[ids_[i]] = now;
    for (std::size_t done = 0; done < count;) {
      const int sent = ::sendmmsg(fd_, out_.headers.data() + done, static_cast<unsigned>(count - done), 0);
      if (sent < 0 && errno == ECONNREFUSED && telling_) continue;  // an ICMP error of an earlier one
      if (sent < 0) give_up("sendmmsg");
      done += static_cast<std::size_t>(sent);
    }
  }

  void wait(std::uint64_t nanoseconds) const {
    pollfd watched{.fd = fd_, .events = POLLIN, .revents = 0};
    const timespec most{.tv_sec = 0, .tv_nsec = static_cast<long>(std::min(nanoseconds, kSecond - 1))};
    ::ppoll(&watched, 1, &most, nullptr);
  }

  std::size_t receive(int milliseconds) {
    int count = ::recvmmsg(fd_, in_.headers.data(), Batch::kMost, MSG_DONTWAIT, nullptr);
    if (count <= 0 && milliseconds > 0) {
      wait(static_cast<std::uint64_t>(milliseconds) * (kSecond / 1000));
      count = ::recvmmsg(fd_, in_.headers.data(), Batch::kMost, MSG_DONTWAIT, nullptr);
    }
    if (count <= 0) return 0;
    const std::uint64_t now = clock_now();
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      if (in_.headers[i].msg_len < dns::kHeaderSize) continue;
      std::uint64_t& sent = sent_at_[dns::load16(in_.octets[i], 0)];
      if (sent == 0) continue;
      if (taken_.size() < taken_.capacity()) taken_.push_back(now - sent);
      longest_ = std::max(longest_, now - sent);
      if (telling_ && now - sent > kSlow && slow_.size() < kMostTold) slow_.emplace_back(sent, now - sent);
      sent = 0;
      --open_;
      ++answered_;
      const unsigned rcode = in_.octets[i][3] & 15U;
      if (rcode != dns::kNoError && rcode != dns::kNxDomain) ++failed_;
    }
    return static_cast<std::size_t>(count);
  }

  // What is still under way.
  void collect() {
    for (const std::uint64_t end = clock_now() + kLost; open_ > 0 && clock_now() < end;)
      receive(10);
  }

  // The question sent then, if it was not answered.
  void lose(std::uint64_t& at) {
    if (at == 0) return;
    if (telling_ && lost_at_.size() < kMostTold) lost_at_.emplace_back(at, 0);
    at = 0;
    ++lost_;
    --open_;
  }

  void forget_all() {
    lost_ += open_;
    open_ = 0;
    sent_at_.fill(0);
  }

  Workload workload_;
  int fd_ = -1;
  Batch out_{false};
  Batch in_{false};
  std::size_t at_ = 0;
  std::uint64_t next_number_ = 0;
  std::uint16_t next_id_ = 0;
  std::size_t open_ = 0;
  std::array<std::uint16_t, Batch::kMost> ids_{};
  std::array<std::uint64_t, 65536> sent_at_{};  // 0: not under way
  std::vector<std::uint64_t> taken_;
  std::uint64_t answered_ = 0;
  std::uint64_t failed_ = 0;  // neither NOERROR nor NXDOMAIN
  std::uint64_t lost_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t late_ = 0;     // the longest that this program itself was kept from looking
  std::uint64_t longest_ = 0;  // wait
  bool telling_ = false;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> lost_at_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> slow_;  // over kSlow, with the wait
};

int run(int argc, char** argv) {
  const std::string_view mode = argc > 3 ? argv[3] : "";
  auto workload = Workload::named(argc > 2 ? argv[2] : "");
  const bool rated = mode == "paced" || mode == "steady" || mode == "concurrent";
  if (!workload || (mode != "warm" && argc < (rated ? 6 : 5))) {
    std::fputs(
        "bench_load IP:PORT hot|10k|wide|k8s|miss warm|flood SECONDS|paced SECONDS QPS|steady SECONDS QPS|"
        "concurrent SECONDS COUNT\n",
        stderr);
    return 2;
  }
  const auto load = std::make_unique<Load>(address_of(argv[1]), std::move(*workload));
  const std::uint64_t began = clock_now();
  bool good = true;
  if (mode == "warm") {
    good = load->warm();
  } else if (mode == "flood") {
    load->flood(std::strtoull(argv[4], nullptr, 10), kWindow);
  } else if (mode == "concurrent") {
    load->flood(std::strtoull(argv[4], nullptr, 10), std::strtoull(argv[5], nullptr, 10));
  } else if (mode == "steady") {
    std::signal(SIGTERM, [](int) { told_to_end = 1; });
    load->steady(std::strtoull(argv[4], nullptr, 10), std::strtoull(argv[5], nullptr, 10));
  } else {
    load->paced(std::strtod(argv[4], nullptr), std::strtoull(argv[5], nullptr, 10));
  }
  load->print(began);
  if (mode == "steady") load->print_told();
  return good ? 0 : 1;
}

}  // namespace

}  // namespace lastlight::bench

int main(int argc, char** argv) {
  return lastlight::bench::run(argc, argv);
}
