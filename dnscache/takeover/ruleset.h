// The rule set of the takeover, as nftables text. Pure; the child carries it out in one transaction.
//
// A query to a taken-over address skips connection tracking, and with it kube-proxy's DNAT, only while the address is
// in a set whose elements time out *and* a socket of ours is bound there: so a dead process is noticed at once, a hung
// one when the lease ends. The serving loop renews the lease by an empty datagram from its listening socket to port 9
// of the same address, which a rule turns into a set update and drops, where it would have stayed on this node: it does
// not while the link is down. Replies are never tracked: one late answer would make an entry that pins its client's
// port to a dead address.
//
// Sets and chains are created once and only their rules replaced, so repeating `up` keeps a running lease.
#pragma once

#include <string>

#include "dnscache/takeover/plan.h"

namespace lastlight::dns {

inline constexpr const char* kTakeoverTable = "lastlight";

std::string rules_up(const TakeoverPlan& plan);
// Ends every lease now: queries go kube-proxy's way, while replies stay untracked.
std::string rules_released();
// Gives kube-proxy its addresses back. What leads link-local clients to a living CoreDNS stays.
std::string rules_down(const TakeoverPlan& plan);
std::string rules_removed();

}  // namespace lastlight::dns
