// What a conversion has to say about one thing it read.
#pragma once

#include <string>
#include <vector>

namespace lastlight::convert {

struct Remark {
  int line = 0;
  std::string what;   // as it was written: forward: max_concurrent
  std::string why;    // a sentence's end: "does not exist here: ..."
  bool lost = false;  // it did something that this configuration does not
};
using Remarks = std::vector<Remark>;

}  // namespace lastlight::convert
