// Scores of attention heads, queries times transposed keys, as one batch on threads of the program's own.
#include <qgemm.h>

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

namespace {

void check(qgemm_status status) {
  if (status != QGEMM_OK) throw std::runtime_error(qgemm_last_error());
}

// A parallel loop; an engine would hand the parts to its pool.
void each_part(void *, size_t parts, qgemm_run_part run, void *job) {
  std::vector<std::thread> threads;
  for (size_t part = 1; part < parts; ++part) threads.emplace_back(run, job, part);
  run(job, 0);
  for (auto &thread : threads) thread.join();
}

}  // namespace

int main() try {
  constexpr size_t seq = 64, heads = 4, d = 32, width = heads * d;
  // [seq, heads, d]: a head is a matrix of seq x d whose rows lie `width` apart.
  std::vector<int8_t> queries(seq * width), keys(seq * width);
  for (size_t i = 0; i < queries.size(); ++i) {
    queries[i] = static_cast<int8_t>(i * 7 % 255);
    keys[i] = static_cast<int8_t>(i * 11 % 251);
  }
  std::vector<int32_t> scores(heads * seq * seq);

  std::vector<qgemm_product> products(heads);
  for (size_t head = 0; head < heads; ++head) {
    qgemm_product &product = products[head];
    product = {};
    product.struct_size = sizeof product;
    product.a = {&queries[head * d], seq, d, width, 1, QGEMM_I8};
    product.b = {&keys[head * d], d, seq, 1, width, QGEMM_I8};  // transposed
    product.c = {&scores[head * seq * seq], seq, seq, seq, 1, QGEMM_I32};
  }
  qgemm_threads threads = {2, each_part, nullptr};
  check(qgemm_run_batch(products.data(), products.size(), &threads));

  for (size_t head = 0; head < heads; ++head) {
    for (size_t i = 0; i < seq; ++i) {
      for (size_t j = 0; j < seq; ++j) {
        int32_t sum = 0;
        for (size_t k = 0; k < d; ++k) sum += queries[i * width + head * d + k] * keys[j * width + head * d + k];
        if (sum != scores[(head * seq + i) * seq + j]) throw std::runtime_error("a score is wrong");
      }
    }
  }

  std::puts("scores of 4 heads are right");
  return 0;
} catch (const std::exception &error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
