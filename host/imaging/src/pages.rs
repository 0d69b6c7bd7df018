//! Memory in large pages.

/// Asks for large pages for the room that `data` has, where there are such: much of the time that it takes to fill a volume once
/// goes into page faults, and much of that to read it in all directions into finding pages.
pub(crate) fn ask_for_large_pages<T>(data: &mut Vec<T>) {
    #[cfg(target_os = "linux")]
    {
        /// No page is larger on the machines this runs on; `madvise` wants the beginning of one.
        const PAGE: usize = 1 << 16;
        /// Below, it is not worth a system call.
        const LARGE: usize = 1 << 22;
        let room: &mut [std::mem::MaybeUninit<T>] = data.spare_capacity_mut();
        let (start, length) = (room.as_mut_ptr().cast::<u8>(), size_of_val(room));
        let ahead = start.align_offset(PAGE);
        if length >= LARGE && ahead < length {
            // SAFETY: the range lies inside the allocation behind `room`, which is borrowed mutably, and the advice changes how memory is
            // provided and not what it holds. A refusal is as good as none.
            unsafe { libc::madvise(start.add(ahead).cast(), length - ahead, libc::MADV_HUGEPAGE) };
        }
    }
}
