/*
 * Matrix products: all of OpenBLAS that libfish uses.  Matrices are row-major; ld* is the distance
 * of rows in floats.  A product computes the same bits on every thread for the same shapes.
 */
#ifndef FISH_GEMM_H
#define FISH_GEMM_H

#include <stddef.h>

/* C [m][n] = alpha A [m][k] B [n][k]^T + beta C: what a linear layer computes from rows and weight.
 */
void fish_gemm_nt(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                  const float *b, size_t ldb, float beta, float *c, size_t ldc);
/* C [m][n] = alpha A [m][k] B [k][n] + beta C: the gradient of its input. */
void fish_gemm_nn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                  const float *b, size_t ldb, float beta, float *c, size_t ldc);
/* C [m][n] = alpha A [k][m]^T B [k][n] + beta C: the gradient of its weight. */
void fish_gemm_tn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                  const float *b, size_t ldb, float beta, float *c, size_t ldc);

/* OpenBLAS starts no threads of its own from now on: ours run side by side.  Called when a model is
 * opened. */
void fish_blas_single_thread(void);
/* The name of the kernels that OpenBLAS chose, such as "Haswell"; static storage. */
const char *fish_blas_kernels(void);

#endif
