/*
 * The kernels that class_scan.c may choose from, by the processor that the build is for.
 */
#ifndef FMP_CODEC_CLASS_SCAN_FAST_H
#define FMP_CODEC_CLASS_SCAN_FAST_H

#include "codec/class_scan.h"

#if defined(__x86_64__) && defined(__GNUC__)
#    define FMP_CLASS_SCAN_X86 1
extern const fmp_class_scan fmp_class_scan_avx2, fmp_class_scan_avx512;
#elif defined(__aarch64__) && defined(__ARM_NEON) && defined(__GNUC__)
#    define FMP_CLASS_SCAN_NEON 1
extern const fmp_class_scan fmp_class_scan_neon;
#endif

#endif
