// The floor of whoever asks by libcurl: one easy handle on a kept connection, the same request each second, nothing
// looked at but that a reply came. Beside bench_poll, what the library takes.
//   bench_poll_curl IP:PORT PATH
#include <string>

#include <curl/curl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "tests/bench/batch.h"

using namespace lastlight::bench;

namespace {

std::size_t drop(char*, std::size_t, std::size_t size, void*) noexcept {
  return size;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int timer = ::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC);
  const itimerspec every{.it_interval = {.tv_sec = 1, .tv_nsec = 0}, .it_value = {.tv_sec = 1, .tv_nsec = 0}};
  if (timer < 0 || ::timerfd_settime(timer, 0, &every, nullptr) != 0) give_up("timerfd");
  curl_global_init(CURL_GLOBAL_DEFAULT);
  CURL* const easy = curl_easy_init();
  const std::string url = "http://" + std::string(argv[1]) + argv[2];
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_PROXY, "");
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 60000L);  // set as an agent does; none is to be met
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &drop);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &drop);
  for (std::uint64_t turns = 0;;) {
    if (::read(timer, &turns, sizeof turns) != sizeof turns) give_up("read");
    if (curl_easy_perform(easy) != CURLE_OK) give_up("curl");
  }
}
