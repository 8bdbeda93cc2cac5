#include "cluster/post.h"

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <utility>
#include <vector>

#include "base/error.h"

namespace mnm {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kIdle = std::chrono::milliseconds(1);      // between two looks for messages
constexpr auto kFarewell = std::chrono::seconds(5);       // for the others to leave too
constexpr std::size_t kHead = 1 + sizeof(std::uint64_t);  // kind, number

std::string bytes_of(const Letter& letter) {
  std::string bytes(kHead, '\0');
  bytes[0] = static_cast<char>(letter.kind);
  std::memcpy(bytes.data() + 1, &letter.number, sizeof letter.number);
  return bytes + letter.body;
}

Letter letter_of(const Transport::Received& received) {
  const std::string& bytes = received.bytes;
  Letter letter;
  if (bytes.size() < kHead || bytes[0] < 0 || bytes[0] > static_cast<char>(Letter::Kind::kBeat)) {
    fail("rank {} sent {} bytes that are no letter of this program: do all run the same build?",
         received.from, bytes.size());
  }
  letter.kind = static_cast<Letter::Kind>(bytes[0]);
  std::memcpy(&letter.number, bytes.data() + 1, sizeof letter.number);
  letter.body = bytes.substr(kHead);
  return letter;
}

Letter beat_of(double share) {
  Letter letter;
  letter.body.resize(sizeof share);
  std::memcpy(letter.body.data(), &share, sizeof share);
  return letter;
}

}  // namespace

struct Post::State {
  explicit State(Milliseconds every) : beat(every) {}

  void serve(const std::function<std::unique_ptr<Transport>()>& open);
  void exchange(Transport& transport);
  void deliver(const Transport::Received& received);

  const Milliseconds beat;
  int rank = 0, size = 1;
  std::mutex mutex;  // of what follows
  std::condition_variable changed;
  bool opened = false, closing = false, closed = false;
  std::exception_ptr failure;
  std::deque<std::pair<int, Letter>> out;
  std::deque<Received> in;
  std::vector<Clock::time_point> heard;  // [size]
  std::vector<double> shares;            // [size]
  std::atomic<double> share = 0;
  std::atomic<bool> stopped = false, all_leave = false, together = false;
};

Post::Post(const std::function<std::unique_ptr<Transport>()>& open, Milliseconds beat)
    : state_(std::make_shared<State>(beat)),
      thread_([state = state_, open] { state->serve(open); }) {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [this] { return state_->opened || state_->closed; });
  rank_ = state_->rank;
  size_ = state_->size;
  if (!state_->failure) return;
  lock.unlock();
  thread_.join();
  std::rethrow_exception(state_->failure);
}

Post::~Post() {
  if (!thread_.joinable()) return;
  std::unique_lock lock(state_->mutex);
  state_->closing = true;
  const bool closed = state_->changed.wait_for(lock, kFarewell, [this] { return state_->closed; });
  lock.unlock();
  // A thread that waits for a rank which died just now cannot be ended, only left: it touches
  // nothing of this object any more.
  if (closed) {
    thread_.join();
  } else {
    thread_.detach();
  }
}

void Post::send(int to, Letter letter) {
  const std::lock_guard lock(state_->mutex);
  state_->out.emplace_back(to, std::move(letter));
}

std::optional<Post::Received> Post::wait(Milliseconds patience) {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait_for(lock, patience,
                           [this] { return !state_->in.empty() || state_->closed; });
  if (!state_->in.empty()) {
    Received received = std::move(state_->in.front());
    state_->in.pop_front();
    return received;
  }
  if (state_->failure) std::rethrow_exception(state_->failure);
  return std::nullopt;
}

double Post::silence(int rank) const {
  const std::lock_guard lock(state_->mutex);
  return std::chrono::duration<double>(Clock::now() -
                                       state_->heard.at(static_cast<std::size_t>(rank)))
      .count();
}

double Post::share_of(int rank) const {
  const std::lock_guard lock(state_->mutex);
  return state_->shares.at(static_cast<std::size_t>(rank));
}

void Post::set_share(double share) { state_->share = share; }
bool Post::stopped() const { return state_->stopped; }
bool Post::all_leave() const { return state_->all_leave; }
void Post::leave() { state_->together = true; }

void Post::State::serve(const std::function<std::unique_ptr<Transport>()>& open) {
  std::unique_ptr<Transport> transport;
  try {
    transport = open();
    {
      const std::lock_guard lock(mutex);
      rank = transport->rank();
      size = transport->size();
      heard.assign(static_cast<std::size_t>(size), Clock::now());
      shares.assign(static_cast<std::size_t>(size), 0.0);
      opened = true;
    }
    changed.notify_all();
    exchange(*transport);
  } catch (...) {
    const std::lock_guard lock(mutex);
    failure = std::current_exception();
  }
  if (transport && together && !failure) transport->finish();
  transport.release();  // without its leave from the others it is left as it is
  const std::lock_guard lock(mutex);
  closed = true;
  changed.notify_all();
}

void Post::State::exchange(Transport& transport) {
  Clock::time_point last_beat{};
  for (;;) {
    bool idle = true;
    std::deque<std::pair<int, Letter>> letters;
    bool leaving = false;
    {
      const std::lock_guard lock(mutex);
      letters.swap(out);
      leaving = closing;
    }
    for (auto& [to, letter] : letters) {
      transport.send(to, bytes_of(letter));
      idle = false;
    }
    while (const std::optional<Transport::Received> received = transport.receive()) {
      deliver(*received);
      idle = false;
    }
    if (const auto now = Clock::now(); now - last_beat >= beat) {
      last_beat = now;
      const std::string bytes = bytes_of(beat_of(share));
      if (rank != 0) transport.send(0, bytes);
      for (int to = 1; rank == 0 && to < size; ++to) transport.send(to, bytes);
    }
    if (leaving && idle) return;
    if (idle) std::this_thread::sleep_for(kIdle);
  }
}

void Post::State::deliver(const Transport::Received& received) {
  Letter letter = letter_of(received);
  const std::lock_guard lock(mutex);
  const auto from = static_cast<std::size_t>(received.from);
  heard[from] = Clock::now();
  if (letter.kind == Letter::Kind::kBeat) {
    if (letter.body.size() == sizeof(double)) {
      std::memcpy(&shares[from], letter.body.data(), sizeof(double));
    }
    return;
  }
  if (letter.kind == Letter::Kind::kStop) {
    all_leave = letter.number != 0;
    stopped = true;
  }
  in.push_back({received.from, std::move(letter)});
  changed.notify_all();
}

}  // namespace mnm
