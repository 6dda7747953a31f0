#include "dnscache/takeover/ruleset.h"

namespace lastlight::dns {

namespace {

struct Family {
  bool v6;
  const char* ip;
  const char* type;
  const char* live;
};
constexpr Family kFamilies[] = {{false, "ip", "ipv4_addr", "live4"}, {true, "ip6", "ipv6_addr", "live6"}};

// Writes the rules of one family and one set of addresses; absent families write nothing.
class Writer {
 public:
  Writer(const TakeoverPlan& plan, const Family& family)
      : plan_(plan), ip_(family.ip), live_(std::string("@") + family.live), port_(std::to_string(plan.port)) {
    for (const IpAddress& address : plan.addresses()) {
      if (address.is_v6() != family.v6) continue;
      own_ += (own_.empty() ? "" : ", ") + address.to_string();
    }
    for (const LinkLocal& each : plan.link_locals) {
      if (each.address.is_v6() == family.v6) link_locals_.push_back(each);
    }
  }

  bool absent() const { return own_.empty(); }

  // `socket wildcard` breaks the handshake of TCP, where the socket is not the listener's for long.
  std::string prerouting() const {
    std::string out = rule(ip_ + " daddr " + live_ + " udp dport " + port_ + " socket wildcard 0 notrack accept") +
                      rule(ip_ + " daddr " + live_ + " tcp dport " + port_ + " socket transparent 0 notrack accept");
    return out + to_fallback("");
  }

  std::string output() const {
    const auto lease = std::chrono::duration_cast<std::chrono::milliseconds>(plan_.lease).count();
    const std::string own = ip_ + " saddr { " + own_ + " } ";
    // What leaves by another interface was for an address that is not here any more, though a socket has it.
    return rule("oifname \"lo\" " + own + "udp sport " + port_ + " udp dport " + std::to_string(kRenewPort) +
                " update " + live_ + " { " + ip_ + " saddr timeout " + std::to_string(lease) + "ms } drop") +
           rule(own + "udp sport " + port_ + " notrack") + rule(own + "tcp sport " + port_ + " notrack") +
           rule(ip_ + " daddr " + live_ + " udp dport " + port_ + " notrack") +
           rule(ip_ + " daddr " + live_ + " tcp dport " + port_ + " notrack");
  }

  // A node's own client has the taken-over address as its source too; another node that has it would answer itself.
  std::string postrouting() const {
    return rule("oifname != \"lo\" " + ip_ + " saddr { " + own_ + " } ct status dnat masquerade");
  }

  // Before connection tracking, so that what kube-proxy and the entry see is the fallback's ClusterIP.
  std::string reroute() const { return to_fallback(ip_ + " daddr != " + live_ + " "); }

  // After NAT: a pod's answer on its way out, and a node client's on its way in (its destination is still our address;
  // the agent's own questions to the fallback have the node's).
  std::string restore_forwarded() const {
    return from_fallback([](const LinkLocal&) { return std::string(); });
  }
  std::string restore_local() const {
    return from_fallback([this](const LinkLocal& each) { return ip_ + " daddr " + each.address.to_string() + " "; });
  }

 private:
  static std::string rule(const std::string& text) { return "\t\t" + text + "\n"; }

  std::string to_fallback(const std::string& condition) const {
    std::string out;
    for (const LinkLocal& each : link_locals_) {
      for (const char* protocol : {"udp", "tcp"}) {
        out += rule(condition + ip_ + " daddr " + each.address.to_string() + " " + protocol + " dport " + port_ + " " +
                    ip_ + " daddr set " + each.fallback.to_string());
      }
    }
    return out;
  }

  template <class Condition>
  std::string from_fallback(Condition condition) const {
    std::string out;
    for (const LinkLocal& each : link_locals_) {
      for (const char* protocol : {"udp", "tcp"}) {
        out += rule(condition(each) + ip_ + " saddr " + each.fallback.to_string() + " " + protocol + " sport " + port_ +
                    " ct direction reply " + ip_ + " saddr set " + each.address.to_string());
      }
    }
    return out;
  }

  const TakeoverPlan& plan_;
  std::string ip_;
  std::string live_;
  std::string port_;
  std::string own_;  // as members of an anonymous set
  std::vector<LinkLocal> link_locals_;
};

std::string chain(const TakeoverPlan& plan, const char* name, const char* hook, std::string (Writer::*rules)() const) {
  std::string out = std::string("\tchain ") + name + " {\n\t\ttype " + hook + ";\n";
  for (const Family& family : kFamilies) {
    const Writer writer(plan, family);
    if (!writer.absent()) out += (writer.*rules)();
  }
  return out + "\t}\n";
}

std::string table() {
  return std::string("table inet ") + kTakeoverTable;
}

}  // namespace

std::string rules_up(const TakeoverPlan& plan) {
  std::string out = "add " + table() + "\nflush " + table() + "\n" + table() + " {\n";
  for (const Family& family : kFamilies) {
    out += std::string("\tset ") + family.live + " {\n\t\ttype " + family.type + "\n\t\tsize " +
           std::to_string(TakeoverPlan::kMaxAddresses) + "\n\t\tflags dynamic,timeout\n\t}\n";
  }
  out += chain(plan, "prerouting", "filter hook prerouting priority raw", &Writer::prerouting);
  out += chain(plan, "output", "filter hook output priority raw", &Writer::output);
  out += chain(plan, "reroute", "route hook output priority raw + 10", &Writer::reroute);
  out += chain(plan, "postrouting", "nat hook postrouting priority srcnat", &Writer::postrouting);
  // 100 is where NAT of the source happens, on both hooks.
  out += chain(plan, "restore_forwarded", "filter hook postrouting priority 110", &Writer::restore_forwarded);
  out += chain(plan, "restore_local", "filter hook input priority 110", &Writer::restore_local);
  return out + "}\n";
}

std::string rules_down(const TakeoverPlan& plan) {
  if (plan.link_locals.empty()) return rules_removed();
  TakeoverPlan rest = plan;
  rest.cluster_ips.clear();
  return rules_up(rest) + rules_released();
}

std::string rules_released() {
  std::string out;
  for (const Family& family : kFamilies)
    out += std::string("flush set inet ") + kTakeoverTable + " " + family.live + "\n";
  return out;
}

std::string rules_removed() {
  // "add" makes the deletion of what is not there no error.
  return "add " + table() + "\ndelete " + table() + "\n";
}

}  // namespace lastlight::dns
