/*
 * The kernels that class_scan.c may choose on x86-64.
 */
#ifndef FMP_CODEC_CLASS_SCAN_X86_H
#define FMP_CODEC_CLASS_SCAN_X86_H

#include "codec/class_scan.h"

#if defined(__x86_64__) && defined(__GNUC__)
#    define FMP_CLASS_SCAN_X86 1
extern const fmp_class_scan fmp_class_scan_avx2, fmp_class_scan_avx512;
#endif

#endif
