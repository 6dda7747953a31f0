// The running agent's control socket: HTTP on `control.sock` in the run directory (agent/supervisor/handover), for the
// commands that ask or tell it something, by root or its own user. Parts add their routes before it serves. Whoever
// serves DNS owns the name: a worker that does replaces what was there, one that stands by only stops listening, and
// nobody removes the file, which may be the successor's by then.
#pragma once

#include <memory>
#include <string>

#include "agent/http/route_table.h"
#include "agent/io/http_server.h"
#include "agent/io/loop.h"

namespace lastlight {

class Control {
 public:
  // An empty directory: there is no such socket, and serve() says so in the log.
  Control(io::Loop& loop, std::string directory);

  static std::string path_in(const std::string& directory) { return directory + "/control.sock"; }

  http::RouteTable& routes() { return routes_; }
  void serve();
  void stop() { server_.reset(); }

 private:
  io::Loop& loop_;
  const std::string directory_;
  http::RouteTable routes_;
  std::unique_ptr<io::HttpServer> server_;
};

}  // namespace lastlight
