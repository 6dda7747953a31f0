// The tiny parent of `lastlight run`. It opens the listening sockets for its worker and holds them, so that queries
// wait in the kernel while a crashed worker is replaced; it forwards signals, runs the privileged takeover child, and
// sleeps in one poll. It reads no configuration and no packet, and starts no library: it forks before main() does
// anything else.
//
// A successor on the same node (agent/handover) is given the sockets while this one still reads them; once the
// successor serves, our worker stops reading and stays as a silent standby until SIGTERM, or until the successor is
// gone. Known limit: a socket that the successor's configuration no longer names stays open, unread.
//
// A worker that ends before it ever served takes the supervisor with it (its configuration is wrong), and so do five
// workers in a row that did not live a second: everything is closed then, and DNS is kube-proxy's again.
#pragma once

#include "agent/io/file_descriptor.h"

namespace lastlight {

struct Supervision {
  bool worker = false;         // go on as the worker, with `channel`; else leave with `exit_code`
  io::FileDescriptor channel;  // for Supervised
  int exit_code = 0;
};

// Returns in each new worker, and once in the parent, at the end.
Supervision supervise();

}  // namespace lastlight
