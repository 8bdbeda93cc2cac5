#include "cli/command.h"

int main(int count, char** words) {
  return mnm::run_program(mnm::Arguments(words + (count > 0 ? 1 : 0), words + count));
}
