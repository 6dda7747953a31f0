#include "agent/app.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include <sys/random.h>

#include "agent/api_server.h"
#include "agent/base/log.h"
#include "agent/config/rules.h"
#include "agent/control/cache_routes.h"
#include "agent/control/drain_routes.h"
#include "agent/control/takeover_route.h"
#include "agent/process_stats.h"
#include "agent/supervisor/handover.h"
#include "agent/version.h"
#include "metrics/scrape.h"
#include "metrics/status.h"

namespace lastlight {

namespace {

// Client::listener of our own look-ups; no listener has this number.
constexpr std::uint32_t kOwnNames = ~std::uint32_t{0};
constexpr Duration kBeat = std::chrono::milliseconds(500);
// How late timers are is looked at more often while there is much to do: an agent at rest is not to be woken for it.
constexpr Duration kBusyLagPeriod = std::chrono::milliseconds(20);
constexpr std::int64_t kBusyRate = 10'000;  // queries a second
constexpr Duration kLeavingPeriod = std::chrono::milliseconds(20);

constexpr std::string_view kBypassedAdvice =
    "An eBPF dataplane (Cilium, GKE Dataplane V2, OVN) translates Services before our rules see them: set "
    "takeover.mode: "
    "none and lead the queries here with its local redirect policy, or with a kube-dns Service of "
    "trafficDistribution: PreferSameNode";

template <typename Value>
Value random_value() {
  Value value{};
  if (::getrandom(&value, sizeof value, 0) != sizeof value) throw std::runtime_error("no randomness from the kernel");
  return value;
}

}  // namespace

App::App(Config config, const std::string& file, Reloading::Load load, io::FileDescriptor supervisor)
    : config_(std::move(config)),
      api_server_(api_server_url(config_.kubernetes, [](const char* name) { return std::getenv(name); })),
      supervisor_(
          loop_, std::move(supervisor),
          {.takeover_done = [this](int code) { takeover_.on_child_done(code); },
           .command_ended = [this](std::uint64_t number, int status,
                                   std::string_view error) { interruption_.on_command_end(number, status, error); },
           .abandoned = [this] { loop_.stop(); },
           .standby = [this](bool waiting) { on_standby(waiting); },
           .image_wanted = [this] { cache_image_.write(); }}),
      leaving_(config_.shutdown_grace, config_.leave_last),
      forwarder_(config_.dns, random_value<std::uint64_t>(), random_value<dns::CookieSecret>()),
      forwarder_timer_(loop_,
                       [this] {
                         forwarder_due_ = kNever;
                         deliver(forwarder_.on_time(loop_.now()));
                         while (const auto ask = forwarder_.next_ask(loop_.now()))
                           ask_upstream(*ask);
                         follow_forwarder();
                       }),
      cache_image_(loop_, forwarder_, [this](const io::FileDescriptor& image) { supervisor_.give_image(image); }),
      upstream_(loop_, config_.dns,
                [this](dns::FlightId flight, std::expected<dns::Upstream::Reply, dns::Failure> reply) {
                  on_upstream(flight, reply);
                }),
      server_(
          loop_, config_.dns,
          [this](ByteView query, const dns::Client& client, Instant now, MutableByteView out) {
            self_probe_.on_query(query);
            if (const std::size_t size = addresses_.answer_probe(query, out); size > 0)
              return dns::Forwarder::Outcome{.size = size, .ask = std::nullopt};
            auto outcome = forwarder_.on_query(query, client, now, out);
            follow_forwarder();
            return outcome;
          },
          [this](const dns::Ask& ask) { ask_upstream(ask); },
          [this](const io::ListeningSocket& wanted) { return supervisor_.open(wanted); },
          [this](std::span<const ByteView> queries) { forwarder_.expect(queries); }),
      self_probe_(
          loop_,
          [this] {
            if (config_.takeover.mode == TakeoverConfig::Mode::None) return SelfProbe::Addresses::Bound;
            return takeover_.renewed() ? SelfProbe::Addresses::TakenOver : SelfProbe::Addresses::Others;
          },
          [this] { takeover_.set_bypassed(!self_probe_.bypassed().empty()); }),
      metadata_client_(loop_,
                       [this](const std::string& host, OwnNames::Done done) { resolve_own(host, std::move(done)); },
                       {.ca_file = {}, .max_connections = interrupt::Source::kLanes}),
      api_client_(
          loop_, [this](const std::string& host, OwnNames::Done done) { resolve_own(host, std::move(done)); },
          {.ca_file = config_.kubernetes.ca_file, .max_connections = interrupt::Drain::connections(config_.drain)}),
      node_events_(loop_, config_, api_server_, api_client_),
      taint_removal_(loop_, config_, api_server_, api_client_,
                     [this] {
                       const bool ours = config_.takeover.mode == TakeoverConfig::Mode::None ||
                                         takeover_.state() == Takeover::State::Held;
                       return ours && !standby_ && readiness().ready();
                     }),
      addresses_(
          loop_, config_, api_server_, api_client_, server_, upstream_,
          [this](const Endpoint& where) {
            self_probe_.probe(where);
            taint_removal_.listening(where);
          },
          [this] {
            if (auto plan = addresses_.takeover_plan()) takeover_.start(std::move(*plan));
          }),
      reloading_(loop_, file, config_, std::move(load), [this](const Config& next) { return reconfigure(next); }),
      takeover_(loop_, {.renew = [this] { return server_.renew_leases(); },
                        .run_child = [this](std::span<const std::string> words) { return supervisor_.takeover(words); },
                        .changed = [this](Takeover::State state) { on_takeover(state); }}),
      address_events_(loop_, [this] { takeover_.check(); }),
      interruption_(
          loop_, config_, api_server_, metadata_client_, api_client_,
          {.drain_started = [this] { on_drain_started(); },
           .resolve = [this](const std::string& host, OwnNames::Done done) { resolve_own(host, std::move(done)); },
           .run_command = [this](std::uint64_t number, std::span<const std::string> words,
                                 std::string_view input) { return supervisor_.run_command(number, words, input); }}),
      control_(loop_, handover::directory()),
      http_(loop_,
            {.metrics = [this] { return metrics::render(scrape()); },
             .readiness = [this] { return readiness(); },
             .status = [this] { return metrics::status_json(scrape(), readiness().ready()); }},
            [this](const io::ListeningSocket& wanted) { return supervisor_.open(wanted); }),
      lag_timer_(loop_, [this] { measure_lag(); }),
      last_pods_(loop_, config_, api_server_, api_client_, [this] { settle_leaving(); }),
      leaving_timer_(loop_, [this] { settle_leaving(); }),
      terminate_(loop_, SIGTERM, [this] { on_terminate(); }),
      interrupted_(loop_, SIGINT, [this] { on_terminate(); }) {}

int App::run() {
  add_cache_routes(control_.routes(), forwarder_, [this] { return loop_.now(); });
  add_drain_routes(control_.routes(), [this] { return interruption_.controller(); });
  control_.routes().add("GET", "/status", [this](const http::Call&) {
    return http::document_reply(metrics::status_json(scrape(), readiness().ready()));
  });
  add_takeover_route(
      control_.routes(), config_, [this] { return Takeover::name(takeover_.state()); },
      [this] { return addresses_.listening(); });
  // Before the first foreign octet is read.
  supervisor_.name_commands(config_.hooks.commands.empty() ? std::string_view() : config_.hooks.commands_directory);
  restore_cache(supervisor_.image(), forwarder_, loop_);
  addresses_.start();
  follow_node_addresses();
  http_.start(config_.http, config_.node_ip);
  interruption_.start();
  supervisor_.ready();
  control_.serve();
  started_ = loop_.refresh();
  lag_at_ = started_;
  lag_due_ = beat_due_ = started_ + kBeat;
  lag_timer_.start_at(lag_due_);
  loop_.run();
  log::info("agent.stopped", {{"exit_code", exit_code_}});
  return exit_code_;
}

// DNS
// -----------------------------------------------------------------------------------------------------------------------------

void App::ask_upstream(const dns::Ask& ask) {
  upstream_.ask(ask);
}

void App::on_upstream(dns::FlightId flight, std::expected<dns::Upstream::Reply, dns::Failure> reply) {
  deliver(reply ? forwarder_.on_reply(flight, reply->message, loop_.now(), reply->from)
                : forwarder_.on_failure(flight, reply.error(), loop_.now()));
  follow_forwarder();
  if (leaving_.asked()) settle_leaving();
}

void App::deliver(std::span<const dns::Delivery> deliveries) {
  server_.deliver(deliveries);
  for (const dns::Delivery& delivery : deliveries) {
    if (delivery.to.listener == kOwnNames) own_names_.on_answer(delivery.to.connection, delivery.message);
  }
}

// Set anew only for an earlier moment: a timer that fires for a flight that has ended finds the next one.
void App::follow_forwarder() {
  const Instant due = forwarder_.next_deadline();
  if (due >= forwarder_due_) return;
  forwarder_due_ = due;
  forwarder_timer_.start_at(due);
}

std::optional<std::string> App::reconfigure(const Config& next) {
  if (auto why = addresses_.problem(next)) return why;
  config_ = next;
  log::configure(config_.log);
  forwarder_.reconfigure(config_.dns, loop_.now());
  addresses_.reconfigure();
  return std::nullopt;
}

void App::resolve_own(const std::string& host, OwnNames::Done done) {
  for (const OwnNames::Question& question : own_names_.start(host, std::move(done))) {
    const dns::Client client{
        .peer = {}, .listener = kOwnNames, .connection = question.id, .transport = dns::Transport::Tcp};
    ByteBuffer answer(65535);
    const auto outcome = forwarder_.on_query(question.query, client, loop_.now(), answer);
    if (outcome.ask) ask_upstream(*outcome.ask);
    follow_forwarder();
    if (outcome.size > 0) own_names_.on_answer(question.id, ByteView(answer).first(outcome.size));
  }
}

// Interruption
// --------------------------------------------------------------------------------------------------------------------

void App::on_drain_started() {
  forwarder_.prepare_to_leave(loop_.now());
  follow_forwarder();
}

// Seeing
// --------------------------------------------------------------------------------------------------------------------------

metrics::Scrape App::scrape() const {
  const interrupt::NoticeEndpoint* endpoint = interruption_.notice_endpoint();
  const interrupt::Messenger* messenger = interruption_.messenger();
  const interrupt::Controller* controller = interruption_.controller();
  return {.version = kVersion,
          .now = loop_.now(),
          .node = config_.node_name,
          .process = read_process_stats(loop_.now() - started_),
          .forwarder = forwarder_.counters(),
          .waits = forwarder_.waits(),
          .cache = forwarder_.cache_counters(),
          .cache_size = config_.dns.cache_size,
          .cut = forwarder_.cut_counters(),
          .reload = {.applied = reloading_.counters().applied,
                     .rejected = reloading_.counters().rejected,
                     .last_rejected = reloading_.counters().last_rejected,
                     .restart_needed = reloading_.counters().restart_needed},
          .upstream = upstream_.counters(),
          .upstreams = upstream_.view(),
          .upstreams_refused = addresses_.refused_upstreams(),
          .linklocal_exceeded = linklocal_exceeded(),
          .server = server_.counters(),
          .receive_buffer = server_.receive_buffer(),
          .takeover_state = Takeover::name(takeover_.state()),
          .takeover_cut_connections = takeover_cut_connections_,
          .loop_lag = loop_lag_,
          .notice_endpoint = endpoint != nullptr ? &endpoint->counters() : nullptr,
          .hooks = messenger != nullptr ? &messenger->hooks() : nullptr,
          .source = controller != nullptr ? &controller->source() : nullptr,
          .policy = controller != nullptr ? &controller->policy() : nullptr,
          .drain = interruption_.drain(),
          .self_check = controller != nullptr ? &controller->self_check() : nullptr,
          .notice = controller != nullptr ? &controller->notice() : nullptr,
          .top_clients = forwarder_.top_clients(metrics::kTopClients)};
}

http::Readiness App::readiness() const {
  http::Readiness facts{.serves_dns = serves_dns(config_),
                        .sockets_bound = addresses_.bound(),
                        .self_answer_age = std::nullopt,
                        .self_answer_limit = 2 * SelfProbe::kInterval + std::chrono::seconds(1),
                        .upstreams = {}};
  if (const auto last = self_probe_.last_answer()) facts.self_answer_age = loop_.now() - *last;
  for (const auto& [endpoint, healthy] : upstream_.health()) {
    facts.upstreams.push_back({endpoint.to_string(), healthy});
  }
  return facts;
}

void App::on_takeover(Takeover::State state) {
  log::info("takeover.changed", {{"state", Takeover::name(state)}});
  if (state == Takeover::State::Lost || state == Takeover::State::Released) count_cut_connections();
  if (state != Takeover::State::Bypassed) return;
  std::string where;
  for (const Endpoint& each : self_probe_.bypassed())
    where += (where.empty() ? "" : ", ") + each.to_string();
  log::error("takeover.bypassed", {{"addresses", where}, {"advice", kBypassedAdvice}});
  node_events_.warn("DNSTakeoverBypassed",
                    "Queries to " + where + " are answered by somebody else. " + std::string(kBypassedAdvice));
}

// Their next segment is kube-proxy's, whose CoreDNS knows nothing of them: it resets them.
void App::count_cut_connections() {
  const std::uint64_t open = server_.counters().tcp_open;
  takeover_cut_connections_ += open;
  if (open > 0) log::info("takeover.connections_cut", {{"open", open}});
}

// Without it what is lost is noticed by the next renewal.
void App::follow_node_addresses() {
  if (config_.takeover.mode == TakeoverConfig::Mode::None) return;
  if (const auto started = address_events_.start(); !started)
    log::warn("takeover.addresses_not_followed", {{"error", started.error()}});
}

void App::measure_lag() {
  const Instant now = loop_.now();
  loop_lag_.add(now - lag_due_);
  const std::uint64_t queries = forwarder_.counters().queries;
  const auto asked = static_cast<std::int64_t>(queries - lag_queries_);
  const bool busy = asked * std::chrono::seconds(1) > kBusyRate * (now - lag_at_);
  lag_queries_ = queries;
  lag_at_ = now;
  if (now >= beat_due_) beat(now);
  lag_due_ = busy ? std::min(now + kBusyLagPeriod, beat_due_) : beat_due_;
  lag_timer_.start_at(lag_due_);
}

void App::beat(Instant now) {
  beat_due_ = now + kBeat;
  count_metadata_packets();
  avoid_this_node();
}

// The metadata service and a guarded resolver share one allowance of the network card. A poll is a segment and two
// acknowledgements on a connection that mostly is there already: four packets are counted.
void App::count_metadata_packets() {
  const interrupt::Controller* controller = interruption_.controller();
  if (controller == nullptr) return;
  const std::uint64_t requests = controller->source().counters().requests;
  upstream_.metadata_packets(static_cast<std::uint32_t>(4 * (requests - metadata_requests_)));
  metadata_requests_ = requests;
}

// Before the end: an upstream on this node goes with it, or before it.
void App::avoid_this_node() {
  const interrupt::Drain* drain = interruption_.drain();
  upstream_.avoid(drain != nullptr ? addresses_on_node(config_.node_ip, *drain) : std::vector<IpAddress>{});
}

// Leaving
// -------------------------------------------------------------------------------------------------------------------------

// A successor has our sockets: what is in flight here is answered, everything else is its.
void App::on_standby(bool waiting) {
  if (standby_ == waiting || (leaving_.asked() && !waiting)) return;
  standby_ = waiting;
  log::info("agent.standby", {{"waiting", waiting}});
  server_.set_listening(!waiting);
  takeover_.standby(waiting);
  control_.stop();
  http_.stop();
  interruption_.stop();
  if (leaving_.asked()) settle_leaving();
  if (waiting) return;
  control_.serve();
  http_.start(config_.http, config_.node_ip);
  interruption_.start();
}

void App::on_terminate() {
  if (!leaving_.asked() && !standby_) last_pods_.ask(interruption_.noticed());
  leaving_.on_terminate(loop_.now());
  log::info("agent.terminating", {{"in_flight", forwarder_.flights()}});
  settle_leaving();
}

// To clients: what we ask for ourselves, names of our own or before they expire, keeps nobody waiting but us.
std::size_t App::owed() const {
  const std::uint64_t waiting = forwarder_.waiting();
  return waiting - std::min<std::uint64_t>(waiting, own_names_.unanswered()) + server_.unsent();
}

void App::settle_leaving() {
  const Leaving::Facts facts{
      .pods = last_pods_.pods(), .succeeded = standby_, .taken_over = takeover_.intercepting(), .owed = owed()};
  const Leaving::Step step = leaving_.decide(facts, loop_.now());
  if (step == Leaving::Step::Release) takeover_.release();
  if (step == Leaving::Step::Drain) server_.stop_reading();
  if (step != Leaving::Step::Exit) {
    // A client that reads slowly ends in no event of ours, nor does time.
    leaving_timer_.start_in(kLeavingPeriod);
    return;
  }
  deliver(forwarder_.abandon_all(loop_.now()));
  loop_.stop();
}

}  // namespace lastlight
