#include "agent/supervisor/origin.h"

#include <string_view>

#include <fcntl.h>
#include <unistd.h>

#include "agent/io/file_descriptor.h"

namespace lastlight {

namespace {

constexpr const char* kFile = "/proc/self/oom_score_adj";

bool write_score(std::string_view text) {
  const io::FileDescriptor file(::open(kFile, O_WRONLY | O_CLOEXEC));
  return ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

}  // namespace

void Origin::block(const sigset_t& signals) {
  sigprocmask(SIG_BLOCK, &signals, &mask_);
}

bool Origin::ask_to_be_spared() {
  const io::FileDescriptor file(::open(kFile, O_RDONLY | O_CLOEXEC));
  const ssize_t size = ::read(file.get(), oom_score_adj_.data(), oom_score_adj_.size());
  if (size <= 0 || !write_score("-1000")) return false;
  size_ = static_cast<std::size_t>(size);
  return true;
}

void Origin::give_back() const {
  sigprocmask(SIG_SETMASK, &mask_, nullptr);
  if (size_ > 0) write_score({oom_score_adj_.data(), size_});
}

}  // namespace lastlight
