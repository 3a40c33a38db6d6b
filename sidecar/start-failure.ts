/** Why a program could not start, as a sentence that says what to do. */
import { findPortHolder } from '../runtime/port-holder.ts';
import { formatEndpoint } from '../runtime/settings.ts';

/** Node's own, of a socket that could not be bound over TCP. */
interface BindError extends Error {
  readonly code: string;
  readonly address: string;
  readonly port: number;
}

const isBindError = (error: Error): error is BindError =>
  'code' in error && 'address' in error && 'port' in error && typeof error.port === 'number';

/** An error without a code is a fault of ours, and is shown with its trace. */
export function startFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (isBindError(error)) return bindFailure(error);
  return 'code' in error ? error.message : (error.stack ?? error.message);
}

function bindFailure({ code, address, port, message }: BindError): string {
  const where = formatEndpoint({ address, port });
  switch (code) {
    case 'EADDRINUSE':
      return `${where}: address in use by ${findPortHolder('tcp', port) ?? 'another process'}; stop it, or listen elsewhere`;
    case 'EACCES':
      return `${where}: not permitted; ports below 1024 need root or CAP_NET_BIND_SERVICE`;
    case 'EADDRNOTAVAIL':
      return `${where}: no interface of this machine has that address`;
    default:
      return message;
  }
}
