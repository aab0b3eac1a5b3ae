// Compares products with plain loops, and sees that wrong arguments are refused.
#include "test.h"

int main(void) {
  results();
  stages();
  activations();
  groups();
  saved();
  refusals();
  qgemm_release_thread_memory();
  printf("qgemm %s: results and refusals are right\n", qgemm_version());
  return 0;
}
