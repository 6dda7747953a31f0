#include "agent/io/file_watch.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <limits.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

namespace lastlight::io {

namespace {

constexpr std::uint32_t kEvents =
    IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

FileDescriptor open_inotify() {
  FileDescriptor fd(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!fd) throw std::runtime_error(std::string("cannot watch files: ") + std::strerror(errno));
  return fd;
}

std::pair<std::string, std::string> split(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

std::string real_path(const std::string& path) {
  char resolved[PATH_MAX];
  return ::realpath(path.c_str(), resolved) != nullptr ? resolved : std::string();
}

}  // namespace

FileWatch::FileWatch(Loop& loop, std::string path, std::move_only_function<void()> changed, Duration settle)
    : path_(std::move(path)),
      changed_(std::move(changed)),
      settle_(settle),
      inotify_(open_inotify()),
      timer_(loop, [this] { settled(); }),
      retry_(loop, [this] { follow(); }),
      poll_(loop, inotify_.get(), [this](Poll::Ready) { read_events(); }) {
  follow();
  last_ = identify();
  pending_ = false;  // what is there now is what the caller reads first
  timer_.stop();
  poll_.watch(true, false);
}

void FileWatch::follow() {
  const bool lost = named_.watch < 0;
  point(named_, path_);
  const std::string real = real_path(path_);
  const std::string directory = real_path(named_.path);
  if (real.empty() || split(real).first == directory) {
    // Also where the watch of the old target is of no use any more.
    if (target_.watch >= 0 && target_.watch != named_.watch) inotify_rm_watch(inotify_.get(), target_.watch);
    target_ = {};
  } else {
    point(target_, real);
  }
  if (named_.watch < 0) return retry_.start_in(kRetry);
  if (lost && !std::exchange(pending_, true)) timer_.start_in(settle_);
}

void FileWatch::point(Directory& directory, const std::string& path) {
  const auto [parent, file] = split(path);
  if (directory.watch >= 0 && directory.path != parent) inotify_rm_watch(inotify_.get(), directory.watch);
  directory = {.path = parent, .file = file, .watch = inotify_add_watch(inotify_.get(), parent.c_str(), kEvents)};
}

void FileWatch::read_events() {
  alignas(inotify_event) char buffer[4096];
  bool any = false;
  for (;;) {
    const ssize_t size = ::read(inotify_.get(), buffer, sizeof buffer);
    if (size <= 0) break;  // EAGAIN: all read
    for (ssize_t at = 0; at < size;) {
      inotify_event event;
      std::memcpy(&event, buffer + at, sizeof event);
      const std::string_view name = event.len > 0 ? buffer + at + sizeof event : "";
      at += static_cast<ssize_t>(sizeof event + event.len);
      any = true;
      if ((event.mask & IN_Q_OVERFLOW) != 0) touched_ = true;
      if (event.wd == named_.watch && (name == named_.file || named_.file == ".")) touched_ = true;
      if (event.wd == target_.watch && name == target_.file) touched_ = true;
      if ((event.mask & (IN_IGNORED | IN_MOVE_SELF)) != 0) {
        if (event.wd == named_.watch) named_.watch = -1;
        if (event.wd == target_.watch) target_.watch = -1;
      }
    }
  }
  if (any && !std::exchange(pending_, true)) timer_.start_in(settle_);
}

void FileWatch::settled() {
  pending_ = false;
  follow();
  const Identity now = identify();
  // A rewrite within one tick of the file system's clock changes no attribute, hence both tests.
  if (!std::exchange(touched_, false) && now == last_) return;
  last_ = now;
  changed_();
}

FileWatch::Identity FileWatch::identify() const {
  struct stat status{};
  if (::stat(path_.c_str(), &status) != 0) return {};
  return {.exists = true,
          .device = status.st_dev,
          .inode = status.st_ino,
          .size = status.st_size,
          .seconds = status.st_mtim.tv_sec,
          .nanoseconds = status.st_mtim.tv_nsec};
}

}  // namespace lastlight::io
