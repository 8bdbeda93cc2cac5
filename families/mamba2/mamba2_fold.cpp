#include "eval/fold.h"
#include "model/error.h"

namespace mnm {

std::unique_ptr<Fold> make_mamba2_fold(const FoldInputs&) {
  fail("cannot run a mamba2 model: this build has no fold for it");
}

}  // namespace mnm
