#include "agent/doctor/look.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <span>

#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/random.h>
#include <sys/wait.h>

#include "agent/cli/ask_agent.h"
#include "agent/doctor/ask.h"
#include "agent/io/http_once.h"
#include "dnscache/presentation.h"

namespace lastlight::doctor {

namespace {

constexpr Duration kPatience = std::chrono::milliseconds(1500);
constexpr JsonLimits kLarge{.bytes = 64U << 20, .depth = 64};

// We are `lastlight-agent`; the child stands beside us.
std::string child_path() {
  std::array<char, 4096> path;
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  std::string own(path.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  if (own.ends_with("-agent")) own.resize(own.size() - 6);
  return own + "-takeover";
}

// What it prints; its errors go where ours go.
std::expected<std::string, std::string> run_child(std::vector<std::string> words) {
  std::string program = child_path();
  std::vector<char*> arguments{program.data()};
  for (std::string& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return std::unexpected(std::strerror(errno));
  const io::FileDescriptor read_end(ends[0]);
  io::FileDescriptor write_end(ends[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(write_end.get(), STDOUT_FILENO);
    ::execv(program.c_str(), arguments.data());
    ::_exit(127);
  }
  write_end = io::FileDescriptor();
  std::string out;
  std::array<char, 65536> part;
  for (ssize_t size = 0; (size = ::read(read_end.get(), part.data(), part.size())) > 0;)
    out.append(part.data(), static_cast<std::size_t>(size));
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return std::unexpected(program + " failed");
  return out;
}

Agent ask_running_agent() {
  const auto answer = cli::ask_agent("GET", "/takeover");
  if (answer) return read_agent(*answer);
  Agent out;
  out.error = answer.error();
  return out;
}

PacketFilter look_at_filter() {
  PacketFilter out;
  const auto text = run_child({"inspect"});
  const auto json = text ? parse_json(*text, kLarge) : std::expected<Json, std::string>(std::unexpected(text.error()));
  if (json) return read_packet_filter(*json);
  out.error = json.error();
  return out;
}

std::vector<Interface> interfaces() {
  std::map<std::string, Interface> found;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return {};
  for (const ifaddrs* each = all; each != nullptr; each = each->ifa_next) {
    Interface& interface = found[each->ifa_name];
    interface.name = each->ifa_name;
    interface.up = (each->ifa_flags & IFF_UP) != 0;
    const auto endpoint = each->ifa_addr != nullptr ? Endpoint::from_sockaddr(each->ifa_addr) : std::nullopt;
    if (endpoint) interface.addresses.push_back(endpoint->address);
  }
  ::freeifaddrs(all);
  std::vector<Interface> out;
  for (auto& [name, interface] : found)
    out.push_back(std::move(interface));
  return out;
}

// Its own word where it gives it, else what it leaves on the node.
KubeProxy look_at_kube_proxy(const Facts& facts) {
  const HttpReply reply = io::http_once({.method = "GET", .url = "http://127.0.0.1:10249/proxyMode"});
  if (reply.ok() && !reply.body.empty() && reply.body.size() < 32) return {reply.body, "it says so on 127.0.0.1:10249"};
  const bool ipvs = std::ranges::find(facts.interfaces, "kube-ipvs0", &Interface::name) != facts.interfaces.end();
  if (ipvs) return {"ipvs", "the link kube-ipvs0 is there"};
  if (facts.filter.has_table("ip", "kube-proxy") || facts.filter.has_table("ip6", "kube-proxy"))
    return {"nftables", "the table kube-proxy is there"};
  const bool iptables =
      facts.filter.has_table("ip", "nat") || std::ranges::find(facts.filter.legacy, "nat") != facts.filter.legacy.end();
  return iptables ? KubeProxy{"iptables", "a table nat of iptables is there"} : KubeProxy{};
}

bool agent_saw(const NameProbe& probe) {
  const auto answer = cli::ask_agent("GET", "/cache/entry?type=A&name=" + probe.name());
  return answer && !array_at(*answer, "entries").empty();
}

Proof prove(const Place& place, const Endpoint& at, bool tcp, Proof::Way way, const std::string& domain) {
  Proof out{
      .from = place.name, .from_pod = static_cast<bool>(place.network), .at = at, .tcp = tcp, .way = way, .text = {}};
  std::array<std::uint8_t, NameProbe::kRandom> random;
  if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) {
    out.result = Proof::Result::Impossible;
    return out;
  }
  const NameProbe probe(domain, random);
  bool exempted = false;
  Prepare prepare;
  if (way == Proof::Way::Exempt) {
    prepare = [&exempted](const Endpoint& own) -> std::expected<void, std::string> {
      const auto done = run_child({"exempt", own.address.to_string(), std::to_string(own.port)});
      if (!done) return std::unexpected("no exemption from the lease can be made");
      exempted = true;
      return {};
    };
  }
  const auto answer = ask(place, at, tcp, probe, kPatience, prepare);
  const bool stuck = exempted && !run_child({"exempt"});
  const bool prepared = way == Proof::Way::AsEveryone || exempted;
  if (answer) {
    out.text = dns::rcode_text(*answer);
    out.failed = !NameProbe::is_from_upstream(*answer);
    out.result = agent_saw(probe) ? Proof::Result::Ours : Proof::Result::Others;
  } else if (prepared && (answer.error() == kSilence || answer.error().starts_with("refused"))) {
    out.text = answer.error() == kSilence ? "" : answer.error();
    out.result = Proof::Result::Silent;
  } else {
    out.text = answer.error();
    out.result = Proof::Result::Impossible;
  }
  if (stuck) out.text += "; its exemption stays until the agent repairs its rules";
  return out;
}

std::vector<Proof> proofs(const Facts& facts, std::vector<Place> places) {
  std::vector<Proof> out;
  const Agent& agent = facts.agent;
  if (!agent.error.empty()) return out;
  places.push_back({.name = "this node", .network = {}});
  const bool held = agent.state == "held";
  for (const IpAddress& address : agent.addresses) {
    const Endpoint at{address, agent.port};
    for (const Place& place : places) {
      for (const bool tcp : {false, true})
        out.push_back(prove(place, at, tcp, Proof::Way::AsEveryone, agent.cluster_domain));
    }
    for (const bool tcp : {false, true}) {
      if (held) out.push_back(prove(places.front(), at, tcp, Proof::Way::Exempt, agent.cluster_domain));
    }
  }
  return out;
}

std::expected<Json, std::string> read_json(const std::string& path) {
  std::ifstream file;
  if (path != "-") file.open(path);
  std::istream& in = path == "-" ? std::cin : file;
  if (!in) return std::unexpected("cannot read " + path);
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  auto json = parse_json(text, kLarge);
  if (!json) return std::unexpected(path + ": " + json.error());
  if (find(*json, "items") == nullptr)
    return std::unexpected(path + " is no list of NetworkPolicies (kubectl get networkpolicies -A -o json)");
  return json;
}

}  // namespace

std::expected<Facts, std::string> look(const Wish& wish) {
  Facts out;
  if (!wish.network_policies.empty()) {
    auto list = read_json(wish.network_policies);
    if (!list) return std::unexpected(list.error());
    out.network_policies = std::move(*list);
  }
  out.in_pod = std::getenv("KUBERNETES_SERVICE_HOST") != nullptr;
  std::vector<Place> places;
  if (wish.pid != 0) {
    auto place = place_of(std::to_string(wish.pid));
    if (!place) return std::unexpected("pid " + std::to_string(wish.pid) + ": " + place.error());
    places.push_back(std::move(*place));
  } else if (!out.in_pod) {
    places = pod_places(1);
  }
  out.agent = ask_running_agent();
  out.interfaces = interfaces();
  out.filter = look_at_filter();
  out.kube_proxy = look_at_kube_proxy(out);
  out.proofs = proofs(out, std::move(places));
  return out;
}

}  // namespace lastlight::doctor
