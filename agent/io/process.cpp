#include "agent/io/process.h"

#include <cstdlib>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <unistd.h>

#include "agent/io/handle.h"
#include "agent/io/timer.h"

namespace lastlight::io {

namespace {

constexpr Duration kLastChance = std::chrono::seconds(1);

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts)
    out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

// A program that ends before it has read its input must not end us. In it, libuv sets every signal to its default.
void ignore_broken_pipes() {
  static const bool done = [] {
    struct sigaction old{};
    if (sigaction(SIGPIPE, nullptr, &old) == 0 && old.sa_handler == SIG_DFL) signal(SIGPIPE, SIG_IGN);
    return true;
  }();
  static_cast<void>(done);
}

// One call on Linux 5.11 and later; before that, each by itself.
void keep_descriptors_here() {
  if (::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0) return;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const int fd = std::atoi(entry.path().filename().c_str());
    if (fd > STDERR_FILENO) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
}

// The text lives as long as its write: longer than the Process, if that goes first.
struct Write {
  uv_write_t request{};
  std::string text;
};

}  // namespace

class Process::Impl {
 public:
  Impl(Loop& loop, ProcessSpec spec, std::move_only_function<void(ProcessEnd)> ended);
  ~Impl();
  int pid = 0;

 private:
  int start();
  void write_input();
  void on_time();
  void kill_session(int number) const;
  void finish();

  ProcessSpec spec_;
  std::move_only_function<void(ProcessEnd)> ended_;
  ProcessEnd end_;
  bool running_ = false;
  Handle<uv_process_t, Impl> process_;
  std::unique_ptr<Handle<uv_pipe_t, Impl>> input_;
  Timer timer_;
};

Process::Impl::Impl(Loop& loop, ProcessSpec spec, std::move_only_function<void(ProcessEnd)> ended)
    : spec_(std::move(spec)),
      ended_(std::move(ended)),
      process_(this),
      input_(std::make_unique<Handle<uv_pipe_t, Impl>>(this)),
      timer_(loop, [this] { on_time(); }) {
  ignore_broken_pipes();
  if (uv_pipe_init(loop.raw(), input_->get(), 0) == 0) input_->mark_initialised();
  uv_process_t* const process = process_.get();
  process->loop = loop.raw();
  if (const int code = start(); code != 0) {
    end_.error = uv_strerror(code);
    timer_.start_in(Duration::zero());
    return;
  }
  running_ = true;
  pid = process->pid;
  timer_.start_in(spec_.timeout);
  write_input();
}

int Process::Impl::start() {
  std::vector<char*> arguments = pointers(spec_.arguments);
  std::vector<char*> environment = pointers(spec_.environment);
  uv_stdio_container_t stdio[3] = {};
  stdio[0].flags = static_cast<uv_stdio_flags>(UV_CREATE_PIPE | UV_READABLE_PIPE);
  stdio[0].data.stream = reinterpret_cast<uv_stream_t*>(input_->get());
  for (int fd : {1, 2}) {
    stdio[fd].flags = UV_INHERIT_FD;
    stdio[fd].data.fd = STDERR_FILENO;
  }
  uv_process_options_t options{};
  options.file = arguments.front();
  options.args = arguments.data();
  options.env = environment.data();
  options.flags = UV_PROCESS_DETACHED;  // its own session: what it starts can be ended with it
  options.stdio = stdio;
  options.stdio_count = 3;
  options.exit_cb = [](uv_process_t* handle, std::int64_t code, int number) noexcept {
    Impl* self = Handle<uv_process_t, Impl>::owner(handle);
    if (self == nullptr) return;
    static_cast<Loop*>(handle->loop->data)->refresh();
    self->running_ = false;
    self->end_.exit_code = number == 0 ? static_cast<int>(code) : -1;
    self->end_.signal = number;
    self->finish();
  };
  keep_descriptors_here();
  const int code = uv_spawn(process_.get()->loop, process_.get(), &options);
  process_.mark_initialised();  // uv_spawn initialises the handle even where it fails
  return code;
}

void Process::Impl::write_input() {
  auto* write = new Write{.request = {}, .text = std::move(spec_.input)};
  write->request.data = write;
  const uv_buf_t buffer = uv_buf_init(write->text.data(), static_cast<unsigned>(write->text.size()));
  const int code = uv_write(&write->request, reinterpret_cast<uv_stream_t*>(input_->get()), &buffer, 1,
                            [](uv_write_t* request, int) noexcept {
                              uv_stream_t* stream = request->handle;
                              delete static_cast<Write*>(request->data);
                              Impl* self = Handle<uv_pipe_t, Impl>::owner(reinterpret_cast<uv_pipe_t*>(stream));
                              if (self != nullptr) self->input_.reset();  // the program sees the end of its input
                            });
  if (code != 0) {
    delete write;
    input_.reset();
  }
}

void Process::Impl::on_time() {
  if (!running_) return finish();
  kill_session(end_.timed_out ? SIGKILL : SIGTERM);
  end_.timed_out = true;
  timer_.start_in(kLastChance);
}

void Process::Impl::kill_session(int number) const {
  if (pid > 0) ::kill(-pid, number);
}

void Process::Impl::finish() {
  timer_.stop();
  if (end_.timed_out) kill_session(SIGKILL);  // what it left behind
  auto ended = std::move(ended_);
  ProcessEnd end = std::move(end_);
  ended(std::move(end));  // may destroy us
}

Process::Impl::~Impl() {
  if (running_) kill_session(SIGKILL);
}

Process::Process(Loop& loop, ProcessSpec spec, std::move_only_function<void(ProcessEnd)> ended)
    : impl_(std::make_unique<Impl>(loop, std::move(spec), std::move(ended))) {}
Process::~Process() = default;

int Process::pid() const {
  return impl_->pid;
}

}  // namespace lastlight::io
