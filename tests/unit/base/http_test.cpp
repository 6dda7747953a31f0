#include "agent/base/http.h"

#include "tests/support/catch.h"

using namespace lastlight;

TEST_CASE("percent-encoding, there and back") {
  CHECK(percent_encode("a/../b?c=d&e#%") == "a%2F..%2Fb%3Fc%3Dd%26e%23%25");
  std::string all;
  for (int byte = 0; byte < 256; ++byte)
    all += static_cast<char>(byte);
  CHECK(percent_decode(percent_encode(all)) == all);
}

TEST_CASE("what only looks percent-encoded stands for itself") {
  CHECK(percent_decode("%") == "%");
  CHECK(percent_decode("100%25") == "100%");
  CHECK(percent_decode("%4") == "%4");
  CHECK(percent_decode("%zz%4g%+1%-1") == "%zz%4g%+1%-1");
  CHECK(percent_decode("%6c%6C") == "ll");
}
