#include "dnscache/takeover/link.h"

#include <memory>
#include <optional>
#include <string_view>

#include <linux/if_addr.h>
#include <net/if.h>
#include <netlink/addr.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>

#include "dnscache/takeover/iptables_rules.h"

namespace lastlight::dns {

namespace {

template <class T, void (*Free)(T*)>
struct Freed {
  void operator()(T* object) const { Free(object); }
};
using Socket = std::unique_ptr<nl_sock, Freed<nl_sock, nl_socket_free>>;
using Cache = std::unique_ptr<nl_cache, Freed<nl_cache, nl_cache_free>>;
using Link = std::unique_ptr<rtnl_link, Freed<rtnl_link, rtnl_link_put>>;
using Address = std::unique_ptr<rtnl_addr, Freed<rtnl_addr, rtnl_addr_put>>;
using Local = std::unique_ptr<nl_addr, Freed<nl_addr, nl_addr_put>>;

std::unexpected<std::string> failed(const std::string& what, int code) {
  return std::unexpected(what + ": " + nl_geterror(code));
}

Local local_of(const IpAddress& address) {
  const bool v6 = address.is_v6();
  Local local(nl_addr_build(v6 ? AF_INET6 : AF_INET, address.octets().data(), v6 ? 16 : 4));
  nl_addr_set_prefixlen(local.get(), v6 ? 128 : 32);
  return local;
}

// One conversation with the kernel.
class Route {
 public:
  static std::expected<Route, std::string> open() {
    Route route;
    route.socket_.reset(nl_socket_alloc());
    if (!route.socket_) return std::unexpected("netlink: out of memory");
    if (const int code = nl_connect(route.socket_.get(), NETLINK_ROUTE); code < 0) return failed("netlink", code);
    return route;
  }

  bool is_dummy(const std::string& name) {
    rtnl_link* found = nullptr;
    if (rtnl_link_get_kernel(socket_.get(), 0, name.c_str(), &found) < 0) return false;
    const Link link(found);
    const char* type = rtnl_link_get_type(link.get());
    return type != nullptr && std::string_view(type) == "dummy";
  }

  std::optional<int> index_of(const std::string& name) {
    rtnl_link* found = nullptr;
    if (rtnl_link_get_kernel(socket_.get(), 0, name.c_str(), &found) < 0) return std::nullopt;
    return rtnl_link_get_ifindex(Link(found).get());
  }

  int add_dummy(const std::string& name) {
    const Link link(rtnl_link_alloc());
    rtnl_link_set_name(link.get(), name.c_str());
    if (const int code = rtnl_link_set_type(link.get(), "dummy"); code < 0) return code;
    return rtnl_link_add(socket_.get(), link.get(), NLM_F_CREATE | NLM_F_EXCL);
  }

  int set_up(int index) {
    const Link now(rtnl_link_alloc());
    rtnl_link_set_ifindex(now.get(), index);
    const Link change(rtnl_link_alloc());
    rtnl_link_set_flags(change.get(), IFF_UP);
    return rtnl_link_change(socket_.get(), now.get(), change.get(), 0);
  }

  int remove_link(int index) {
    const Link link(rtnl_link_alloc());
    rtnl_link_set_ifindex(link.get(), index);
    return rtnl_link_delete(socket_.get(), link.get());
  }

  int add_address(int index, const IpAddress& address) {
    const Address added = address_on(index, address);
    // Scope host would keep IPv4 clients of the node from using it as their source.
    if (address.is_v6()) rtnl_addr_set_flags(added.get(), IFA_F_NODAD);
    return rtnl_addr_add(socket_.get(), added.get(), 0);
  }

  int remove_address(int index, const IpAddress& address) {
    return rtnl_addr_delete(socket_.get(), address_on(index, address).get(), 0);
  }

  // The addresses of every interface, read once.
  std::expected<Cache, std::string> addresses() {
    nl_cache* cache = nullptr;
    if (const int code = rtnl_addr_alloc_cache(socket_.get(), &cache); code < 0) return failed("netlink", code);
    return Cache(cache);
  }

 private:
  Address address_on(int index, const IpAddress& address) {
    Address made(rtnl_addr_alloc());
    rtnl_addr_set_ifindex(made.get(), index);
    rtnl_addr_set_local(made.get(), local_of(address).get());
    return made;
  }

  Socket socket_;
};

// Which interface has `address`, but for `except`.
std::optional<int> holder(nl_cache* addresses, const IpAddress& address, int except) {
  const Local wanted = local_of(address);
  for (nl_object* object = nl_cache_get_first(addresses); object != nullptr; object = nl_cache_get_next(object)) {
    auto* each = reinterpret_cast<rtnl_addr*>(object);
    const int index = rtnl_addr_get_ifindex(each);
    nl_addr* local = rtnl_addr_get_local(each);
    if (index == except || local == nullptr || nl_addr_get_family(local) != nl_addr_get_family(wanted.get())) continue;
    if (nl_addr_get_len(local) == nl_addr_get_len(wanted.get()) &&
        memcmp(nl_addr_get_binary_addr(local), nl_addr_get_binary_addr(wanted.get()), nl_addr_get_len(local)) == 0) {
      return index;
    }
  }
  return std::nullopt;
}

bool any_on(nl_cache* addresses, int index) {
  for (nl_object* object = nl_cache_get_first(addresses); object != nullptr; object = nl_cache_get_next(object)) {
    auto* each = reinterpret_cast<rtnl_addr*>(object);
    nl_addr* local = rtnl_addr_get_local(each);
    const bool ours = local != nullptr && rtnl_addr_get_scope(each) != RT_SCOPE_LINK;  // fe80:: is the kernel's own
    if (rtnl_addr_get_ifindex(each) == index && ours) return true;
  }
  return false;
}

std::string name_of(int index) {
  char name[IF_NAMESIZE] = {};
  return ::if_indextoname(static_cast<unsigned>(index), name) == nullptr ? "interface " + std::to_string(index) : name;
}

std::string conflict(const IpAddress& address, const std::string& holder) {
  if (holder == "kube-ipvs0") {
    return address.to_string() +
           " is on kube-ipvs0: kube-proxy runs in IPVS mode, beside which only link-local addresses" +
           " can be taken over (takeover.mode: link-local)";
  }
  return address.to_string() + " is on " + holder + " already; it must be removed there";
}

}  // namespace

std::expected<std::string, std::string> raise_link(const std::string& name, std::span<const IpAddress> addresses) {
  auto route = Route::open();
  if (!route) return std::unexpected(route.error());
  std::string used = name;
  auto index = route->index_of(name);
  if (!index) {
    const int code = route->add_dummy(name);
    if (code == -NLE_OPNOTSUPP) {  // "Unknown device type": the kernel was built without it
      used = "lo";
    } else if (code < 0 && code != -NLE_EXIST) {
      return failed("cannot create the link " + name, code);
    }
    index = route->index_of(used);
  }
  if (!index) return std::unexpected("the link " + used + " has vanished");
  if (const int code = route->set_up(*index); code < 0) return failed("cannot set " + used + " up", code);
  const auto present = route->addresses();
  if (!present) return std::unexpected(present.error());
  for (const IpAddress& address : addresses) {
    if (const auto other = holder(present->get(), address, *index)) {
      return std::unexpected(conflict(address, name_of(*other)));
    }
    const int code = route->add_address(*index, address);
    if (code < 0 && code != -NLE_EXIST) return failed("cannot add " + address.to_string() + " to " + used, code);
  }
  return used;
}

std::expected<void, std::string> lower_link(const std::string& name, std::span<const IpAddress> addresses) {
  auto route = Route::open();
  if (!route) return std::unexpected(route.error());
  const auto own = route->index_of(name);
  const auto index = own ? own : route->index_of("lo");
  if (!index) return {};
  for (const IpAddress& address : addresses) {
    const int code = route->remove_address(*index, address);
    if (code < 0 && code != -NLE_NOADDR && code != -NLE_OBJ_NOTFOUND) {
      return failed("cannot remove " + address.to_string(), code);
    }
  }
  if (!own) return {};
  const auto left = route->addresses();
  if (!left || any_on(left->get(), *own)) return {};
  if (const int code = route->remove_link(*own); code < 0) return failed("cannot remove the link " + name, code);
  return {};
}

std::expected<bool, std::string> remove_link(const std::string& name) {
  auto route = Route::open();
  if (!route) return std::unexpected(route.error());
  const auto index = route->index_of(name);
  if (!index) return false;
  if (name != kNodeLocalLink && !route->is_dummy(name))
    return std::unexpected(name + " is no dummy link: not ours to remove");
  if (const int code = route->remove_link(*index); code < 0) return failed("cannot remove the link " + name, code);
  return true;
}

bool has_dummy_links() {
  constexpr const char* kTried = "lastlight-try";
  auto route = Route::open();
  if (!route || route->add_dummy(kTried) < 0) return false;
  if (const auto index = route->index_of(kTried)) route->remove_link(*index);
  return true;
}

}  // namespace lastlight::dns
