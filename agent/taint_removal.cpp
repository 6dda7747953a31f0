#include "agent/taint_removal.h"

#include <algorithm>
#include <array>
#include <utility>

#include <sys/random.h>
#include <sys/socket.h>

#include "agent/base/log.h"
#include "agent/io/jitter.h"
#include "agent/io/small_file.h"

namespace lastlight {

TaintRemoval::TaintRemoval(io::Loop& loop, const Config& config, std::string api_server, io::HttpClient& api,
                           std::function<bool()> ready)
    : loop_(loop),
      config_(config),
      api_server_(std::move(api_server)),
      api_(api),
      ready_(std::move(ready)),
      taint_(config.node_name, config.startup_taint.key),
      uniform_(io::jitter()),
      timer_(loop, [this] { turn(); }) {}

TaintRemoval::~TaintRemoval() {
  api_.cancel(request_);
}

void TaintRemoval::listening(const Endpoint& where) {
  if (!config_.startup_taint.remove || config_.node_name.empty() || api_server_.empty() || where_) return;
  where_ = where;
  timer_.start_in(kPeriod);
}

void TaintRemoval::turn() {
  if (taint_.step() == StartupTaint::Step::Done) return;
  timer_.start_in(kPeriod);
  const Instant now = loop_.now();
  if (probe_ && now >= given_up_) answered(std::nullopt);
  if (now < taint_.due() || !ready_()) return;
  taint_.step() == StartupTaint::Step::Ask ? ask() : send_request();
}

void TaintRemoval::ask() {
  std::array<std::uint8_t, NameProbe::kRandom> random;
  if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) return;
  sockaddr_storage address;
  const socklen_t size = where_->to_sockaddr(address);
  io::FileDescriptor socket(::socket(address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) return;
  poll_.reset();
  socket_ = std::move(socket);
  poll_.emplace(loop_, socket_.get(), [this](io::Poll::Ready) { receive(); });
  poll_->watch(true, false);
  probe_.emplace(config_.dns.cluster_domain, random);
  given_up_ = loop_.now() + kPatience;
  taint_.begin();
  // A failure to send is no answer; the next question tries again.
  static_cast<void>(::send(socket_.get(), probe_->query().data(), probe_->query().size(), MSG_NOSIGNAL));
}

void TaintRemoval::receive() {
  std::array<std::uint8_t, 1500> answer;
  const ssize_t size = ::recv(socket_.get(), answer.data(), answer.size(), 0);
  if (size < 0 || !probe_) return;
  const auto rcode = probe_->rcode_of(ByteView(answer).first(static_cast<std::size_t>(size)));
  if (rcode) answered(rcode);
}

void TaintRemoval::answered(std::optional<std::uint16_t> rcode) {
  probe_.reset();
  tell(taint_.on_answer(rcode, loop_.now()));
  if (taint_.step() == StartupTaint::Step::Read) timer_.start_in(Duration::zero());
}

void TaintRemoval::send_request() {
  HttpRequest request =
      taint_.request({.base_url = api_server_, .token = io::read_secret(config_.kubernetes.token_file)});
  request.timeout = kTimeout;
  taint_.begin();
  request_ = api_.send(std::move(request), [this](const HttpReply& reply) {
    request_ = 0;
    tell(taint_.on_reply(reply, loop_.now(), uniform_()));
    if (taint_.step() != StartupTaint::Step::Done) timer_.start_in(Duration::zero());
  });
}

void TaintRemoval::tell(const std::optional<StartupTaint::Told>& told) {
  if (!told) return;
  switch (told->what) {
    case StartupTaint::Told::What::Removed:
      return log::info("startup_taint.removed", {{"key", told->text}});
    case StartupTaint::Told::What::Absent:
      return log::info("startup_taint.absent", {{"key", told->text}});
    case StartupTaint::Told::What::Failed:
      return log::warn("startup_taint.waits", {{"key", config_.startup_taint.key}, {"reason", told->text}});
  }
}

}  // namespace lastlight
