// The tiny parent of `lastlight run`. It opens the listening sockets for its worker and holds them, so that queries
// wait in the kernel while a crashed worker is replaced; it forwards signals, runs the privileged takeover child, and
// sleeps in one poll. It reads no configuration and no packet, and links no library whose memory it would keep: the
// worker is another program (programs.h).
//
// A successor on the same node (handover.h) is given the sockets while this one still reads them; once the
// successor serves, our worker stops reading and stays as a silent standby until SIGTERM, or until the successor is
// gone. Known limit: a socket that the successor's configuration no longer names stays open, unread.
//
// A worker that ends before it ever served takes the supervisor with it (its configuration is wrong), and so do five
// workers in a row that did not live a second: everything is closed then, and DNS is kube-proxy's again.
#pragma once

namespace lastlight {

// `arguments` as main() has them: the worker's. Returns the exit code, at the end.
int supervise(char** arguments);

}  // namespace lastlight
