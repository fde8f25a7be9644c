//! How does one loop use the vector unit of the machine it runs on?
//!
//! A wheel is built for the oldest x86-64, whose vectors are half as wide and which has no fused multiply-add. `wide!`
//! compiles a function twice from one body, `widest!` three times, and the choice is made at run time. The results have the same bits: the body is IEEE
//! arithmetic in a fixed order, and a fused multiply-add without hardware is computed in software.

/// Compile a function for the baseline and for AVX2 with FMA; callees must be `#[inline(always)]` to follow.
macro_rules! wide {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $output:ty)? $body:block) => {
        $(#[$attribute])*
        $visibility fn $name($($argument: $type),*) $(-> $output)? {
            #[inline(always)]
            fn body($($argument: $type),*) $(-> $output)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,bmi1,bmi2")]
                fn with_avx2($($argument: $type),*) $(-> $output)? {
                    body($($argument),*)
                }
                let has_features = is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("bmi1")
                    && is_x86_feature_detected!("bmi2");
                if has_features {
                    #[allow(unsafe_code)]
                    // SAFETY: the four features the callee is compiled for were found on this machine.
                    return unsafe { with_avx2($($argument),*) };
                }
            }
            body($($argument),*)
        }
    };
}

/// The same with a third version for AVX-512, for loops that are worth its size.
macro_rules! widest {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $output:ty)? $body:block) => {
        $(#[$attribute])*
        $visibility fn $name($($argument: $type),*) $(-> $output)? {
            $crate::wide::wide! { fn narrower($($argument: $type),*) $(-> $output)? $body }
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2")]
                fn with_avx512($($argument: $type),*) $(-> $output)? $body
                let has_features = is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("bmi1")
                    && is_x86_feature_detected!("bmi2");
                if has_features {
                    #[allow(unsafe_code)]
                    // SAFETY: the features the callee is compiled for were found on this machine.
                    return unsafe { with_avx512($($argument),*) };
                }
            }
            narrower($($argument),*)
        }
    };
}

pub(crate) use {wide, widest};
