/** A server of the front-end bench, as it is measured. */
export interface Front {
  readonly port: number;
  /** Called when a step has been handled: all of its tokens have been given to the kernel. */
  onStep: () => void;
  /** Microseconds of CPU that its engine's thread has taken. */
  engineUs(): number;
  close(): Promise<void>;
}
