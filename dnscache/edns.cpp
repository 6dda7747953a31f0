#include "dnscache/edns.h"

#include <algorithm>

namespace lastlight::dns {

namespace {

enum Option : std::uint16_t { kOptionCookie = 10, kOptionKeepalive = 11, kOptionEde = 15 };
constexpr std::size_t kOptionHead = 4;  // code, length

// RFC 7873 s5.2.2: any other length is a format error.
bool read_cookie(ByteView octets, Cookie& out) {
  const bool client_only = octets.size() == Cookie::kClient;
  if (!client_only && (octets.size() < 2 * Cookie::kClient || octets.size() > Cookie::kMost)) return false;
  if (out.size != 0) return true;  // s5: of several the first counts
  copy_octets(octets, out.octets.data());
  out.size = static_cast<std::uint8_t>(octets.size());
  return true;
}

// RFC 6891 s6.1.2: {code, length, octets} to the end of the RDATA. Unknown ones are ignored.
bool read_options(ByteView rdata, Edns& out) {
  Cookie cookie;
  while (!rdata.empty()) {
    if (rdata.size() < kOptionHead) return false;
    const std::size_t length = load16(rdata, 2);
    if (rdata.size() - kOptionHead < length) return false;
    const ByteView octets = rdata.subspan(kOptionHead, length);
    switch (load16(rdata, 0)) {
      case kOptionCookie:
        if (!read_cookie(octets, cookie)) return false;
        break;
      case kOptionKeepalive:  // RFC 7828 s3.2.1: a client names no time; if it does, it is not heard
        out.keepalive = true;
        break;
      default:
        break;
    }
    rdata = rdata.subspan(kOptionHead + length);
  }
  out.cookie = cookie;
  return true;
}

MutableByteView put_head(MutableByteView out, Option code, std::size_t length) {
  store16(out, 0, code);
  store16(out, 2, static_cast<std::uint16_t>(length));
  return out.subspan(kOptionHead);
}

}  // namespace

bool read_opt(ByteView message, const Record& opt, Edns& out) {
  out = Edns{};
  out.version = static_cast<std::uint8_t>(opt.ttl >> 16);
  out.payload = opt.rr_class;
  out.dnssec_ok = (opt.ttl & kEdnsDo) != 0;
  return out.version != 0 || opt.rdata_size == 0 || read_options(message.subspan(opt.rdata_at, opt.rdata_size), out);
}

std::size_t OptForm::size() const {
  return kBareOpt + (ede ? kOptionHead + 2 : 0) + (keepalive ? kOptionHead + 2 : 0) +
         (cookie.empty() ? 0 : kOptionHead + cookie.size());
}

void write_opt(const OptForm& form, MutableByteView out) {
  out[0] = 0;
  store16(out, 1, kTypeOpt);
  store16(out, 3, form.payload);
  store16(out, 5, static_cast<std::uint16_t>((form.rcode >> 4) << 8));  // the upper eight bits; version 0
  store16(out, 7, form.dnssec_ok ? kEdnsDo : 0);
  store16(out, 9, static_cast<std::uint16_t>(form.size() - kBareOpt));
  MutableByteView at = out.subspan(kBareOpt);
  if (form.ede) {
    at = put_head(at, kOptionEde, 2);
    store16(at, 0, static_cast<std::uint16_t>(*form.ede));
    at = at.subspan(2);
  }
  if (form.keepalive) {
    at = put_head(at, kOptionKeepalive, 2);
    store16(at, 0, *form.keepalive);
    at = at.subspan(2);
  }
  if (!form.cookie.empty()) {
    at = put_head(at, kOptionCookie, form.cookie.size());
    copy_octets(form.cookie, at.data());
  }
}

}  // namespace lastlight::dns
