// TCP for servers: a listener, and a connection with a bounded write queue, an idle timer and half-close. Frames
// nothing: the owner is given bytes as they come. Bounds: one accept burst per turn; a peer that does not read costs
// max_queued bytes, then its connection. Out of descriptors, the listener rests (the backlog holds the peers) instead
// of spinning.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>

#include "agent/base/address.h"
#include "agent/base/bytes.h"
#include "agent/io/file_descriptor.h"
#include "agent/io/poll.h"
#include "agent/io/timer.h"

namespace lastlight::io {

class TcpListener {
 public:
  using Accepted = std::move_only_function<void(FileDescriptor, const Endpoint& peer)>;
  static std::expected<std::unique_ptr<TcpListener>, std::string> listen(Loop& loop, const Endpoint& where,
                                                                         Accepted accepted);

  const Endpoint& local() const { return local_; }
  std::uint64_t rests() const { return rests_; }  // how often descriptors or memory ran out
  void stop();                                    // accepts no more

 private:
  TcpListener(Loop& loop, FileDescriptor fd, Endpoint local, Accepted accepted);
  void accept_burst();

  FileDescriptor fd_;
  Endpoint local_;
  Accepted accepted_;
  Poll poll_;
  Timer rested_;
  bool stopped_ = false;
  std::uint64_t rests_ = 0;
};

class TcpConnection {
 public:
  struct Limits {
    Duration idle;           // neither read nor written for so long: closed
    std::size_t max_queued;  // bytes that wait for the peer to read
  };
  enum class Closed { Finished, Idle, Slow, Refused, Error };  // Refused: the owner did not want the bytes
  struct Calls {
    // False: close. Must not destroy the connection.
    std::move_only_function<bool(ByteView)> received;
    // The peer will send no more, but may still read (RFC 7766 s6.2.4): answers may be written, then finish(). Must not
    // destroy.
    std::move_only_function<void()> half_closed;
    std::move_only_function<void(Closed)> closed;  // the last call; may destroy the connection
  };

  TcpConnection(Loop& loop, FileDescriptor fd, Limits limits, Calls calls);
  void write(ByteView bytes);  // a peer that exceeds max_queued is closed on a later turn
  void finish();               // close once all is written, on a later turn
  void pause_reading(bool paused);
  std::size_t queued() const { return queue_.size() - written_; }

 private:
  void ready(Poll::Ready event);
  bool read();   // false: closed() has been called, *this may be gone
  bool flush();  // likewise
  void update();
  void close_later(Closed why);
  bool close(Closed why);

  FileDescriptor fd_;  // closed after poll_, which is destroyed first
  Limits limits_;
  Calls calls_;
  ByteBuffer queue_;
  std::size_t written_ = 0;
  bool peer_done_ = false;
  bool paused_ = false;
  bool finishing_ = false;
  Poll poll_;
  Timer idle_;
  std::optional<Closed> doomed_;
};

}  // namespace lastlight::io
