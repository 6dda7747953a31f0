// TLS against `openssl s_server`, with certificates made for the test: only the peer named and vouched for is spoken
// to.
#include <array>
#include <cstdio>
#include <filesystem>
#include <optional>

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/io/file_descriptor.h"
#include "agent/io/http_client.h"

#include "tests/support/catch.h"
#include "tests/unit/io/turn.h"

using namespace lastlight;
using test::turn_until;
namespace fs = std::filesystem;

namespace {

// Answers GET / with a page of its own, on a free port of 127.0.0.1.
class TlsPeer {
 public:
  explicit TlsPeer(const std::string& name) {
    std::string directory = (fs::temp_directory_path() / "lastlight-tls-XXXXXX").string();
    REQUIRE(mkdtemp(directory.data()) != nullptr);
    directory_ = directory;
    const std::string make =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=peer"
        " -addext subjectAltName=" +
        name + " -keyout '" + key() + "' -out '" + certificate() + "' 2>&1";
    REQUIRE(system((make + " >/dev/null").c_str()) == 0);
    start();
  }
  ~TlsPeer() {
    if (child_ > 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    fs::remove_all(directory_);
  }
  std::string certificate() const { return directory_ / "cert.pem"; }
  std::string url() const { return "https://127.0.0.1:" + port_ + '/'; }

 private:
  std::string key() const { return directory_ / "key.pem"; }
  void start() {
    std::array<int, 2> ends{};
    REQUIRE(pipe(ends.data()) == 0);
    const io::FileDescriptor reader(ends[0]);
    const std::string cert = certificate(), secret = key();
    child_ = fork();
    if (child_ == 0) {
      dup2(ends[1], STDOUT_FILENO);
      close(STDERR_FILENO);  // it complains there of every refusal, which is what is asked for
      execlp("openssl", "openssl", "s_server", "-www", "-accept", "127.0.0.1:0", "-cert", cert.c_str(), "-key",
             secret.c_str(), static_cast<char*>(nullptr));
      _exit(127);
    }
    close(ends[1]);
    std::string said;  // "ACCEPT 127.0.0.1:PORT"
    std::array<char, 256> buffer{};
    const std::string mark = "ACCEPT 127.0.0.1:";
    for (;;) {
      const auto at = said.find(mark);
      if (at != std::string::npos && said.find('\n', at) != std::string::npos) {
        port_ = said.substr(at + mark.size(), said.find('\n', at) - at - mark.size());
        return;
      }
      const ssize_t size = read(reader.get(), buffer.data(), buffer.size());
      REQUIRE(size > 0);
      said.append(buffer.data(), static_cast<std::size_t>(size));
    }
  }

  fs::path directory_;
  pid_t child_ = -1;
  std::string port_;
};

HttpReply get(const std::string& url, const std::string& ca_file) {
  io::Loop loop;
  io::HttpClient client(loop, [](std::string, io::HttpClient::Resolved done) { done({}); }, {.ca_file = ca_file});
  std::optional<HttpReply> got;
  client.send({.url = url}, [&](HttpReply reply) { got = std::move(reply); });
  REQUIRE(turn_until(loop, [&] { return got.has_value(); }));
  return *got;
}

}  // namespace

TEST_CASE("a TLS peer is verified against the given authority, and by address", "[http_client][tls]") {
  const TlsPeer peer("IP:127.0.0.1");
  const TlsPeer misnamed("DNS:other.test");

  const HttpReply good = get(peer.url(), peer.certificate());
  INFO(good.error);
  CHECK(good.status == 200);
  const HttpReply unknown = get(peer.url(), misnamed.certificate());
  CHECK(unknown.status == 0);
  CHECK_THAT(unknown.error, ContainsSubstring("certificate"));
  CHECK_THAT(get(peer.url(), "").error, ContainsSubstring("certificate"));
  const HttpReply wrong_name = get(misnamed.url(), misnamed.certificate());
  CHECK(wrong_name.status == 0);
  CHECK_THAT(wrong_name.error, ContainsSubstring("127.0.0.1"));
}
