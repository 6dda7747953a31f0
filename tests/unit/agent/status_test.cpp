#include "agent/cli/status.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"

using namespace lastlight::cli;

TEST_CASE("a probe asks where http.listen is by its default") {
  using Urls = std::vector<std::string>;
  CHECK(probe_urls("", "10.0.0.7") == Urls{"http://10.0.0.7:9253", "http://127.0.0.1:9253"});
  CHECK(probe_urls("", "fd00::7") == Urls{"http://[fd00::7]:9253", "http://127.0.0.1:9253"});
  CHECK(probe_urls("", nullptr) == Urls{"http://127.0.0.1:9253"});
  CHECK(probe_urls("", "nowhere") == Urls{"http://127.0.0.1:9253"});
  CHECK(probe_urls("http://h:1", "10.0.0.7") == Urls{"http://h:1"});
}
