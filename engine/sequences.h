// Sequences of tokens that grow side by side under one model: what a server, a draft and its
// verifier, and a change of widths need. Each sequence keeps what later tokens read of its earlier
// ones (its cache), and may be computed at other widths in every step.
//
// What a cache holds. Each token was computed at the widths of the step that fed it, and stays so:
// a later step at other widths reads it as it is, and recomputes nothing. A layer that was skipped
// for a token holds nothing of it.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "model/widths.h"

namespace mnm {

enum class SequenceId : std::int64_t {};  // never given twice by one Sequences

struct SequenceOptions {
  // The positions that the sequence is opened for. It matters only to models that compute otherwise
  // in a long sequence; 0: no longer than they were trained with.
  std::int64_t context = 0;
  // How many of the last tokens `rewind` and `fork` can always take back. A cache that tells tokens
  // apart (keys and values) can give back any number and needs nothing for it. A state that is
  // updated in place (Mamba-2) is copied before each of these tokens.
  std::int64_t take_back = 0;
};

// The next tokens of one sequence.
struct Feed {
  SequenceId sequence{};
  std::span<const Width> widths;         // [layers], which the width space allows
  std::span<const std::int64_t> tokens;  // one or more, within the vocabulary
  bool every_position = false;           // logits at each of them, else at the last
  // They will not be taken back, so nothing is copied for that. `rewind` and `fork` then reach no
  // further back than the end of this feed, if the cache does not tell tokens apart.
  bool settled = false;
};

// Called by one thread at a time. It does not outlive the session that made it.
class Sequences {
 public:
  virtual ~Sequences() = default;

  // A sequence without tokens.
  virtual SequenceId open(const SequenceOptions& options) = 0;
  virtual void close(SequenceId sequence) = 0;  // frees its cache

  virtual std::int64_t length(SequenceId sequence) const = 0;  // tokens that were fed

  // Whether `rewind` and `fork` can go to `position`, which is at most `length`. They always can go
  // to 0 and to `length`, and no further back than `take_back` from the longest that the sequence
  // has been if its cache does not tell tokens apart.
  virtual bool reaches(SequenceId sequence, std::int64_t position) const = 0;
  // Forgets the tokens from `position` on. Error if it does not reach there.
  virtual void rewind(SequenceId sequence, std::int64_t position) = 0;
  // A new sequence that starts with the first `position` tokens, with the same options. Error if it
  // does not reach there. The two share the memory of these tokens as long as neither writes there.
  virtual SequenceId fork(SequenceId sequence, std::int64_t position) = 0;

  // Feeds all sequences together. Each sequence is in at most one feed. Result i belongs to
  // feeds[i]: f32 logits, [vocab], or [tokens, vocab] with every_position; valid until the next
  // call. Each weight is read once for all feeds, whatever their widths. The logits equal those of
  // each feed alone but for rounding, and are the same bits if the step is the same.
  //
  // If it throws, the sequences in it can only be closed.
  virtual std::vector<std::span<const float>> step(std::span<const Feed> feeds) = 0;

  virtual std::uint64_t cache_bytes() const = 0;  // memory that all caches take
  // A cache of a single token takes as much as one of so many, and on a CPU it grows by so many.
  virtual std::int64_t cache_block() const { return 1; }
};

// A sequence that is closed with this. `sequences` outlives it.
class OpenSequence {
 public:
  OpenSequence(Sequences& sequences, const SequenceOptions& options)
      : sequences_(&sequences), id_(sequences.open(options)) {}
  OpenSequence(OpenSequence&& other) noexcept
      : sequences_(std::exchange(other.sequences_, nullptr)), id_(other.id_) {}
  OpenSequence& operator=(OpenSequence&&) = delete;
  ~OpenSequence() {
    if (sequences_ != nullptr) sequences_->close(id_);
  }

  SequenceId id() const { return id_; }

 private:
  Sequences* sequences_;  // null: moved from
  SequenceId id_;
};

}  // namespace mnm
