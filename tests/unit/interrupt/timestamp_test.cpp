#include "interrupt/timestamp.h"

#include <string>

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono;

TEST_CASE("IMF-fixdate is read strictly") {
  const auto time = parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT");
  REQUIRE(time);
  CHECK(time->time_since_epoch() == milliseconds(784111777000));
  for (const char* bad :
       {"", "Sun, 06 Nov 1994 08:49:37 UTC", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
        "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 0x Nov 1994 08:49:37 GMT"}) {
    CHECK_FALSE(parse_http_date(bad));
  }
}

TEST_CASE("RFC 3339 is read with fractions and offsets, and written in UTC") {
  CHECK(parse_rfc3339("2017-09-18T08:22:00Z")->time_since_epoch() == milliseconds(1505722920000));
  CHECK(parse_rfc3339("2017-09-18T10:22:00.25+02:00")->time_since_epoch() == milliseconds(1505722920250));
  CHECK(parse_rfc3339("2017-09-18T03:22:00-05:00") == parse_rfc3339("2017-09-18T08:22:00Z"));
  CHECK(format_rfc3339(*parse_rfc3339("2017-09-18T08:22:09.75Z")) == "2017-09-18T08:22:09Z");
  for (const char* bad :
       {"", "2017-09-18", "2017-09-18T08:22:00", "2017-09-18 08:22:00Z", "2017-13-18T08:22:00Z", "2017-09-31T08:22:00Z",
        "2017-09-18T08:22:00.Z", "2017-09-18T08:22:00+2:00", "2017-09-18T08:22:00Zjunk", "2017-09-18T08:22:00+99:00"}) {
    INFO(bad);
    CHECK_FALSE(parse_rfc3339(bad));
  }
}

TEST_CASE("no prefix of a time reads past its end") {
  for (const std::string text : {"Sun, 06 Nov 1994 08:49:37 GMT", "2017-09-18T10:22:00.25+02:00"}) {
    for (std::size_t n = 0; n < text.size(); ++n) {
      CHECK_FALSE(parse_http_date(text.substr(0, n)));
      CHECK_FALSE(parse_rfc3339(text.substr(0, n)));
    }
  }
}
