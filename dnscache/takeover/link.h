// The interface that carries the taken-over addresses: a dummy link of our own, or `lo` where the kernel has no dummy.
// Addresses are /32 and /128, without duplicate address detection (the same address lives on every node). The only door
// to libnl; opened by a short-lived child. Touches no address it was not told of.
#pragma once

#include <expected>
#include <span>
#include <string>

#include "agent/base/address.h"

namespace lastlight::dns {

// Puts the addresses in place; those there already stay. Returns the interface that has them. An address that another
// interface has is a conflict, told by that interface's name.
std::expected<std::string, std::string> raise_link(const std::string& name, std::span<const IpAddress> addresses);

// Removes these addresses from our interface or `lo`, and a link of ours that has none left. Absent ones are no error.
std::expected<void, std::string> lower_link(const std::string& name, std::span<const IpAddress> addresses);

// A dummy link, or whatever bears NodeLocal's name, with all its addresses. False: there was none of that name.
std::expected<bool, std::string> remove_link(const std::string& name);

// Whether this kernel has dummy links: one is made and removed.
bool has_dummy_links();

}  // namespace lastlight::dns
