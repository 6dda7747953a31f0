// Tells when the content of a file may have changed. Watches the directory, not the file (inotify(7)): a file replaced
// by rename, and a ConfigMap's, whose ..data link is swapped, are new files of the same name. Where the path is a link,
// the directory of the file it leads to is watched as well (/etc/resolv.conf leading into /run). Never reads the file.
// DIRECTORY/. stands for every file in it.
// A file that is itself a mount point cannot be followed: its directory there never changes.
#pragma once

#include <ctime>
#include <functional>
#include <string>

#include "agent/io/file_descriptor.h"
#include "agent/io/loop.h"
#include "agent/io/poll.h"
#include "agent/io/timer.h"

namespace lastlight::io {

class FileWatch {
 public:
  // `changed` is called once per burst: `settle` after its first event. Also when the file appears or vanishes. Not to
  // be destroyed inside `changed`. Throws std::runtime_error if inotify cannot be had. A directory that does not exist,
  // or vanishes, is looked for every `kRetry`.
  static constexpr Duration kRetry = std::chrono::seconds(1);
  FileWatch(Loop& loop, std::string path, std::move_only_function<void()> changed,
            Duration settle = std::chrono::milliseconds(100));

 private:
  // Which file the name leads to, and when it was last written.
  struct Identity {
    bool exists = false;
    unsigned long long device = 0, inode = 0;
    long long size = 0, seconds = 0, nanoseconds = 0;
    bool operator==(const Identity&) const = default;
  };
  struct Directory {
    std::string path;
    std::string file;  // the name within it
    int watch = -1;
  };

  void read_events();
  void settled();
  void follow();  // (re)adds the watches
  void point(Directory& directory, const std::string& path);
  Identity identify() const;

  std::string path_;
  std::move_only_function<void()> changed_;
  Duration settle_;
  FileDescriptor inotify_;
  Directory named_;
  Directory target_;  // of the file behind links; unused if it is the same
  Identity last_;
  bool touched_ = false;  // an event named the file itself
  bool pending_ = false;
  Timer timer_;
  Timer retry_;
  Poll poll_;  // gone before the descriptor closes
};

}  // namespace lastlight::io
