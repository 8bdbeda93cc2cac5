// Ranks that are threads of one process: each has a queue. A rank may die: then it neither sends
// nor receives, and nobody is told.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "cluster/transport.h"

namespace mnm::test {

class LocalNetwork {
 public:
  explicit LocalNetwork(int size) : dead(static_cast<std::size_t>(size)), queues_(dead.size()) {}

  std::unique_ptr<Transport> open(int rank) { return std::make_unique<End>(*this, rank); }
  void kill(int rank) { dead[static_cast<std::size_t>(rank)] = true; }

  std::vector<std::atomic<bool>> dead;
  std::atomic<int> finished = 0;

 private:
  class End final : public Transport {
   public:
    End(LocalNetwork& network, int rank) : network_(network), rank_(rank) {}
    int rank() const override { return rank_; }
    int size() const override { return static_cast<int>(network_.dead.size()); }
    void send(int to, std::string bytes) override {
      const auto target = static_cast<std::size_t>(to);
      if (network_.dead[target] || network_.dead[static_cast<std::size_t>(rank_)]) return;
      const std::lock_guard lock(network_.mutex_);
      network_.queues_[target].push_back({rank_, std::move(bytes)});
    }
    std::optional<Received> receive() override {
      const auto own = static_cast<std::size_t>(rank_);
      const std::lock_guard lock(network_.mutex_);
      if (network_.dead[own] || network_.queues_[own].empty()) return std::nullopt;
      Received received = std::move(network_.queues_[own].front());
      network_.queues_[own].pop_front();
      return received;
    }
    void finish() override { ++network_.finished; }

   private:
    LocalNetwork& network_;
    int rank_;
  };

  std::mutex mutex_;
  std::vector<std::deque<Transport::Received>> queues_;
};

}  // namespace mnm::test
