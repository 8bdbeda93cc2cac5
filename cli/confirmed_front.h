// What `search` prints at its end: the front, as the confirm part scores it.
#pragma once

#include "cli/output.h"
#include "study/confirm.h"

namespace mnm {

void print_confirmed(const ConfirmedFront& front, OutputFormat format);  // on standard output

}  // namespace mnm
